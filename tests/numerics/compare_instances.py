"""One process on all cores, or one on each: python tests/numerics/compare_instances.py FOLDER [--runtime openvino].

FOLDER is a quantized folder. Prints texts/s of both arrangements, taking turns, on scifact abstracts; every
process may run on its cores only and encodes its share. With --shared also processes that may run on all of
them. What docs/cpu.md says of instances comes from it. Environment variables such as LD_PRELOAD reach the
processes, so allocators can be compared too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"

_ENCODE = """
import json, logging, os, sys, time
folder, runtime, threads, texts = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.stdin.readline())
logging.disable(logging.WARNING)
from intel_quantized_embeddings import Encoder
encoder = Encoder.load(folder, runtime=runtime, num_threads=threads)
encoder.encode_documents(texts)
print("ready", flush=True)
for line in sys.stdin:
    started = time.perf_counter()
    encoder.encode_documents(texts)
    print(time.perf_counter() - started, flush=True)
"""


class Instance:
    """A process with an encoder that may run on some cores, with a thread for each of them if not said otherwise."""

    def __init__(
        self, folder: str, runtime: str, cores: list[int], texts: list[str], *, threads: int | None = None
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ENCODE, folder, runtime, str(threads or len(cores))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        self._say(json.dumps(texts))
        self.answer()

    def start(self) -> None:
        self._say("go")

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="One process on all cores, or one on each.")
    parser.add_argument("folder")
    parser.add_argument("--runtime", default="native", help="which one the folder is for")
    parser.add_argument("--shared", action="store_true", help="also processes that share the cores")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()

    cores = sorted(os.sched_getaffinity(0))
    lines = (SCIFACT / "corpus.jsonl").read_text("utf-8").splitlines()[: options.texts]
    texts = [json.loads(line)["text"] for line in lines]
    arrangements = {
        f"1 process, {len(cores)} cores": [Instance(options.folder, options.runtime, cores, texts)],
        f"{len(cores)} processes, 1 core each": [
            Instance(options.folder, options.runtime, [core], texts[place :: len(cores)])
            for place, core in enumerate(cores)
        ],
    }
    if options.shared:
        for threads in (1, len(cores)):
            arrangements[f"{len(cores)} processes of {threads} threads sharing {len(cores)} cores"] = [
                Instance(options.folder, options.runtime, cores, texts[place :: len(cores)], threads=threads)
                for place in range(len(cores))
            ]
    speeds: dict[str, list[float]] = {name: [] for name in arrangements}
    for _ in range(options.repeats):
        for name, instances in arrangements.items():
            started = time.perf_counter()
            for instance in instances:
                instance.start()
            for instance in instances:
                instance.answer()
            speeds[name].append(len(texts) / (time.perf_counter() - started))
    first = np.array(next(iter(speeds.values())))
    for name, values in speeds.items():
        ratio = np.median(np.array(values) / first)
        print(f"{options.runtime}, {name}: {np.median(values):.0f} texts/s, {ratio:.2f} of the first", flush=True)


if __name__ == "__main__":
    main()
