"""Compare static int8 with weights of 8 and of 7 bits on kinds of CPU: cosine to fp32, and speed beside it.

    python tests/numerics/compare_cpu_kinds.py MODEL [MODEL ...] [--data ../shared/data]

Each model is quantized twice, and each folder encodes the same texts in a process for each kind: this CPU as it is,
and with oneDNN told to leave instructions unused (`ONEDNN_MAX_CPU_ISA`), which computes as CPUs without them do. The
cosines are those of such CPUs. Speeds are not; the ratio of int8 to fp32, which take turns, is given. OpenVINO alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.int8_folder.fidelity import summarize_cosines

KINDS = ("ALL", "AVX512_CORE", "AVX2")
FOR_OPENVINO = {"runtime": "openvino"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--turns", type=int, default=5, help="of the ratio; 0 leaves it out")
    parser.add_argument("--folders", type=Path, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folders:
        (model,) = options.models
        print(json.dumps(_measured(model, options.folders, _texts(options.data), turns=options.turns)))
        return
    print("| model | weights | kind of CPU | documents, mean / worst | queries | int8 by fp32 |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for model in options.models:
            name = Path(model).name
            folders = [
                quantize(model, Path(scratch) / f"{name}-{bits}", **FOR_OPENVINO, weight_bits=bits, search=False).folder
                for bits in (8, 7)
            ]
            for kind in KINDS:
                command = [sys.executable, __file__, model, "--data", options.data, "--turns", str(options.turns)]
                command += ["--folders", *folders]
                environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": kind}
                done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
                for bits, row in zip((8, 7), json.loads(done.stdout), strict=True):
                    print(f"| {name} | {bits} bits | {kind} | {' | '.join(row)} |", flush=True)


def _texts(data: Path) -> tuple[list[str], list[str]]:
    """Every 20th abstract of scifact; every fourth of its queries and every twelfth question of banking77."""
    documents = [json.loads(line)["text"] for line in (data / "scifact" / "corpus.jsonl").open(encoding="utf-8")][::20]
    queries = [json.loads(line)["text"] for line in (data / "scifact" / "queries.jsonl").open(encoding="utf-8")][::4]
    with (data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as file:
        queries += [row["text"] for row in csv.DictReader(file)][::12]
    return documents, queries


def _measured(model: str, folders: list[Path], texts: tuple[list[str], list[str]], *, turns: int) -> list[list[str]]:
    documents, queries = texts
    fp32 = Encoder.load(model, precision="fp32", **FOR_OPENVINO)
    right = fp32.encode_documents(documents), fp32.encode_queries(queries)
    rows = []
    for folder in folders:
        int8 = Encoder.load(folder)
        found = int8.encode_documents(documents), int8.encode_queries(queries)
        cosines = [summarize_cosines(one, other) for one, other in zip(right, found, strict=True)]
        ratios = []
        for _ in range(turns):
            seconds = []
            for encoder in (fp32, int8):
                started = time.perf_counter()
                encoder.encode_documents(documents)
                seconds.append(time.perf_counter() - started)
            ratios.append(seconds[0] / seconds[1])
        rows.append(
            [*(f"{c.mean:.4f} / {c.worst:.4f}" for c in cosines), f"{statistics.median(ratios):.2f}" if ratios else ""]
        )
    return rows


if __name__ == "__main__":
    main()
