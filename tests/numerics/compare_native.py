"""Cosine of the engine's int8 to its fp32 on real texts: python tests/numerics/compare_native.py MODEL --data DIR.

DIR holds scifact, xquad-en and banking77 as `iqe evaluate` reads them. A table of mean and worst for each set.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
from pathlib import Path

from intel_quantized_embeddings import Encoder


def _texts(file: Path, count: int) -> list[str]:
    if file.suffix == ".csv":
        with file.open(newline="") as opened:
            texts = [row["text"] for row in csv.DictReader(opened)]
    else:
        with file.open() as opened:
            texts = [json.loads(line)["text"] for line in opened]
    return texts[:: max(1, len(texts) // count)][:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--queries", type=int, default=300)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # texts that are cut
    sets = {
        "scifact documents": (given.data / "scifact" / "corpus.jsonl", given.documents),
        "xquad documents": (given.data / "xquad-en" / "corpus.jsonl", given.documents),
        "scifact queries": (given.data / "scifact" / "queries.jsonl", given.queries),
        "xquad queries": (given.data / "xquad-en" / "queries.jsonl", given.queries),
        "banking77": (given.data / "banking77" / "train.csv", given.queries),
    }
    fp32, int8 = (
        Encoder.load(given.model, runtime="native", precision=precision, max_length=256)
        for precision in ("fp32", "int8")
    )
    for name, (file, count) in sets.items():
        texts = _texts(file, count)
        cosines = (fp32.encode(texts, instruction="") * int8.encode(texts, instruction="")).sum(axis=1)
        print(f"{name:18}  mean {cosines.mean():.4f}  worst {cosines.min():.4f}  ({len(texts)} texts)", flush=True)


if __name__ == "__main__":
    main()
