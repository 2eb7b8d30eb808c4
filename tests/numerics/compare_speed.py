"""Compare speed with torch fp32: python tests/numerics/compare_speed.py [--rows 8] [--repeats 30] [--runtimes ipex].

Texts of 256 tokens, where the model cuts them, end to end (tokenizer included), through both runtimes
and through sentence-transformers in fp32. The systems take turns; the ratio is the median over turns
of sentence-transformers' time by the system's in the same turn. ../shared must lie beside the checkout.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.models.hub import MINILM, find_model
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"
WARM_UP = 3
CHARACTERS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare speed with torch fp32.")
    parser.add_argument("model", nargs="?", default=MINILM, help="one whose maximum length is 256 tokens")
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "ipex"])
    parser.add_argument("--rows", type=int, default=8, help="texts in a call")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that texts are cut is what is wanted here

    systems = dict(_systems(options.model, options.runtimes))
    abstracts = [json.loads(line)["text"] for line in (SCIFACT / "corpus.jsonl").read_text("utf-8").splitlines()]
    # Long enough to be cut at 256 tokens, and no longer: tokenizing what is then cut would weigh too much.
    texts = sorted(text for text in abstracts if len(text) > CHARACTERS)[: options.rows]
    texts = [text[:CHARACTERS] for text in texts]
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(WARM_UP + options.repeats):
        for name, encode in systems.items():
            started = time.perf_counter()
            encode(texts)
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    baseline = np.array(next(iter(seconds.values())))
    expected = next(iter(systems.values()))(texts)
    print(f"{options.rows} texts of 256 tokens, {options.repeats} turns")
    print(f"{'system':34s} texts/s  ratio  (10 to 90 %)   mean cosine to the first")
    for name, times in seconds.items():
        ratios = baseline / np.array(times)
        low, high = np.percentile(ratios, (10, 90))
        cosine = float((systems[name](texts) * expected).sum(axis=1).mean())
        print(
            f"{name:34s} {options.rows / np.median(times):7.1f}  {np.median(ratios):5.2f}  ({low:.2f} to {high:.2f})   "
            f"{cosine:.4f}"
        )


def _systems(model: str, runtimes: list[str]) -> list[tuple[str, Callable[[list[str]], np.ndarray]]]:
    """Name and what encodes; the first is what the others are compared with."""
    folder = find_model(model).path
    torch_fp32 = SentenceTransformer(str(folder), device="cpu")
    systems: list[tuple[str, Callable[[list[str]], np.ndarray]]] = [
        ("sentence-transformers, torch fp32", lambda texts: torch_fp32.encode(texts, batch_size=len(texts)))
    ]
    for runtime in runtimes:
        int8 = quantize(model, Path(tempfile.mkdtemp()) / "int8", runtime=runtime).folder
        for precision in ("fp32", *(["bf16"] if has_bfloat16() else []), "int8"):
            source = int8 if precision == "int8" else model
            encoder = Encoder.load(source, runtime=runtime, precision=precision)
            systems.append((f"{runtime} {precision}", encoder.encode_documents))
    return systems


if __name__ == "__main__":
    main()
