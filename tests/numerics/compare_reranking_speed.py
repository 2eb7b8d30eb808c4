"""Compare the speed of cross-encoders: python tests/numerics/compare_reranking_speed.py [--pairs 300] [--repeats 7].

Pairs of scifact's queries and abstracts, at most 256 tokens, end to end (tokenizer included), through this package and
through sentence-transformers. The systems take turns; the ratio is the median over turns of a system's time by that of
our int8. The model is all-MiniLM-L6-v2 with a head of random numbers: as fast as any of its size, and no good, so
scores are compared with torch's, not judged. Needs the reference environment, and ../shared beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder as TheirCrossEncoder
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from intel_quantized_embeddings import CrossEncoder, quantize_cross_encoder
from intel_quantized_embeddings.models.hub import MINILM, find_model
from intel_quantized_embeddings.tasks.measure import spearman

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"
WARM_UP, MAX_LENGTH = 2, 256

Score = Callable[[list[tuple[str, str]]], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the speed of cross-encoders.")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--runtime", default="native", help="of ours: native or openvino (%(default)s)")
    options = parser.parse_args()
    pairs = some_pairs(options.pairs)
    with tempfile.TemporaryDirectory() as folder:
        systems = made(Path(folder), options.runtime)
    logging.disable(logging.WARNING)  # that pairs are cut is what is wanted here
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(WARM_UP + options.repeats):
        for name, score in systems.items():
            started = time.perf_counter()
            score(pairs)
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    ours, expected = (np.array(times) for times in (seconds["this package, int8"], systems[TORCH](pairs)))
    print(f"{len(pairs)} pairs, {options.repeats} turns, {torch.get_num_threads()} threads")
    print(f"{'system':38s} pairs/s  our int8 is so many times as fast (range)   rank correlation to torch")
    for name, times in seconds.items():
        ratios = np.array(times) / ours
        alike = spearman(expected, systems[name](pairs))
        print(
            f"{name:38s} {len(pairs) / np.median(times):7.1f}  {np.median(ratios):5.2f}  "
            f"({ratios.min():.2f} to {ratios.max():.2f})   {alike:.4f}"
        )


TORCH = "sentence-transformers, torch fp32"


def made(folder: Path, runtime: str) -> dict[str, Score]:
    """What scores, by name."""
    source = str(find_model(MINILM).path)
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    torch.nn.init.normal_(model.classifier.weight, std=0.1)
    model.save_pretrained(folder / "fp32")
    AutoTokenizer.from_pretrained(source).save_pretrained(folder / "fp32")
    int8 = quantize_cross_encoder(folder / "fp32", folder / "int8", runtime=runtime).folder
    ours = {
        "this package, int8": CrossEncoder.load(int8, max_length=MAX_LENGTH),
        "this package, fp32": CrossEncoder.load(
            folder / "fp32", runtime=runtime, precision="fp32", max_length=MAX_LENGTH
        ),
    }
    options = {"device": "cpu", "max_length": MAX_LENGTH}
    theirs = {
        TORCH: TheirCrossEncoder(str(folder / "fp32"), **options),
        "sentence-transformers, OpenVINO": TheirCrossEncoder(str(folder / "fp32"), backend="openvino", **options),
    }
    return {
        **{name: model.score for name, model in ours.items()},
        **{name: (lambda pairs, model=model: model.predict(pairs, batch_size=32)) for name, model in theirs.items()},
    }


def some_pairs(count: int) -> list[tuple[str, str]]:
    """Queries with the abstracts of some documents, drawn once."""
    documents, queries = (
        [json.loads(line) for line in (SCIFACT / name).read_text("utf-8").splitlines()]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    drawn = random.Random(0)
    return [(drawn.choice(queries)["text"], drawn.choice(documents)["text"]) for _ in range(count)]


if __name__ == "__main__":
    main()
