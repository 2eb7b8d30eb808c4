"""Train a SetFit model on a few texts a class, quantize its body, and compare what came of it.

    python examples/setfit_banking77.py                       # ../shared/data/banking77
    python examples/setfit_banking77.py --data FOLDER         # train.csv and test.csv with the columns text, label

Needs `pip install -e '.[setfit]'`, which brings torch; serving the result needs neither.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import random
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import torch
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from intel_quantized_embeddings import Encoder
    from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
    from intel_quantized_embeddings.integrations.setfit import QuantizedSetFit, quantize_setfit
    from intel_quantized_embeddings.models.hub import find_model
    from intel_quantized_embeddings.process.cores import granted_cores
    from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e '.[setfit]'")

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "banking77"
SEED = 20260


def read(file: Path) -> list[tuple[str, str]]:
    """Texts and their labels."""
    with file.open(encoding="utf-8", newline="") as opened:
        return [(row["text"], row["label"]) for row in csv.DictReader(opened)]


def few_of_each(rows: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Draw so many texts of every label."""
    by_label: dict[str, list[str]] = defaultdict(list)
    for text, label in rows:
        by_label[label].append(text)
    draw = random.Random(SEED)
    return [(text, label) for label in sorted(by_label) for text in draw.sample(by_label[label], count)]


def train(model: str, rows: Sequence[tuple[str, str]], *, steps: int) -> SetFitModel:
    """SetFit's own training: pull texts of a label together, push others apart, then fit the head."""
    labels = sorted({label for _, label in rows})
    trained = SetFitModel.from_pretrained(str(find_model(model).path), labels=labels)
    dataset = Dataset.from_dict({"text": [text for text, _ in rows], "label": [labels.index(name) for _, name in rows]})
    arguments = TrainingArguments(
        batch_size=16,
        max_steps=steps,
        sampling_strategy="undersampling",
        seed=SEED,
        report_to="none",
        eval_strategy="no",
        save_strategy="no",
    )
    Trainer(model=trained, args=arguments, train_dataset=dataset).train()
    return trained


def milliseconds(systems: dict[str, Callable[[list[str]], Any]], texts: Sequence[str]) -> dict[str, float]:
    """Median time of one text, the systems taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in systems}
    for text in (*texts[:5], *texts):  # the first five warm up
        for name, predict in systems.items():
            started = time.perf_counter()
            predict([text])
            taken[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(values[5:]) for name, values in taken.items()}


def texts_a_second(systems: dict[str, Callable[[list[str]], Any]], texts: list[str], *, turns: int) -> dict[str, float]:
    """Median over turns of encoding and classifying all texts in one call."""
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(turns + 1):
        for name, predict in systems.items():
            started = time.perf_counter()
            predict(texts)
            if turn:  # the first warms up
                rates[name].append(len(texts) / (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in rates.items()}


def megabytes(folder: Path, pattern: str) -> float:
    """Size of a folder's weights on disk."""
    return sum(file.stat().st_size for file in folder.rglob(pattern)) / 1e6


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="SetFit on a few texts a class: fp32, bf16 and int8 side by side.")
    parser.add_argument("--data", type=Path, default=DATA, help="a folder with train.csv and test.csv: text,label")
    parser.add_argument("--model", default=MODEL, help="the body, a hub id or a folder (%(default)s)")
    parser.add_argument("--shots", type=int, default=8, metavar="N", help="texts of each label (%(default)s)")
    parser.add_argument("--steps", type=int, default=400, metavar="N", help="training steps of 16 pairs (%(default)s)")
    parser.add_argument("--tested", type=int, metavar="N", help="texts to test on (all)")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="turns of the throughput (%(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("setfit-banking77"), help="where the models go (%(default)s)"
    )
    options = parser.parse_args(argv)
    try:
        compare(options)
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def compare(options: argparse.Namespace) -> None:
    """Train, quantize, measure, print."""
    rows = few_of_each(read(options.data / "train.csv"), options.shots)
    tested = read(options.data / "test.csv")
    random.Random(SEED).shuffle(tested)
    tested = tested[: options.tested]
    texts, labels = [text for text, _ in tested], np.array([label for _, label in tested])

    torch.set_num_threads(granted_cores())
    started = time.perf_counter()
    model = train(options.model, rows, steps=options.steps)
    print(f"trained on {len(rows)} texts of {len(set(model.labels))} labels in {time.perf_counter() - started:.0f} s")
    trained, int8 = options.output / "fp32", options.output / "int8"
    model.save_pretrained(str(trained))
    report = quantize_setfit(model, int8, calibration_texts=[text for text, _ in rows], overwrite=True)
    print(f"quantized in {report.seconds:.0f} s; cosine to fp32, documents: {report.fidelity.documents}")

    served = {"int8": QuantizedSetFit.load(int8)}
    bf16 = has_bfloat16() and importlib.util.find_spec("openvino") is not None
    for precision in ("bf16", "fp32") if bf16 else ("fp32",):
        encoder = Encoder.load(
            trained,
            runtime="openvino" if precision == "bf16" else None,  # which the default one does not have
            precision=precision,
            query_instruction="",
            document_instruction="",
            normalize=model.normalize_embeddings or None,
        )
        served[precision] = QuantizedSetFit(encoder=encoder, head=served["int8"].head, labels=model.labels)
    systems: dict[str, Callable[[list[str]], Any]] = {"SetFit fp32 (torch)": model.predict}
    systems |= {f"ours {precision}": served[precision].predict for precision in reversed(served)}

    right = {name: float((np.array(predict(texts)) == labels).mean()) for name, predict in systems.items()}
    latency = milliseconds(systems, texts[:200])
    rate = texts_a_second(systems, texts, turns=options.turns)
    size = {name: megabytes(trained, "model.safetensors") for name in systems}
    size["ours int8"] = megabytes(int8, "encoder.*") + megabytes(int8, "head.safetensors")
    first = next(iter(systems))
    print(f"\n{len(texts)} texts to test on, {granted_cores()} threads each, in turns\n")
    print(f"{'':20} {'accuracy':>8}  {'ms a text':>9} {'times':>6}  {'texts/s':>8} {'times':>6}  {'MB':>6}")
    for name in systems:
        print(
            f"{name:20} {100 * right[name]:7.2f} %  {latency[name]:9.2f} {latency[first] / latency[name]:6.2f}  "
            f"{rate[name]:8.0f} {rate[name] / rate[first]:6.2f}  {size[name]:6.1f}"
        )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training libraries have much to say
        sys.exit(main())
