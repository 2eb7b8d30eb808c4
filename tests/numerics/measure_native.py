"""What docs/native.md says of the native runtime beside its speed: python tests/numerics/measure_native.py MODEL.

Prints the seconds that quantizing takes, those of a whole process that encodes a query from a folder (the median of
ten), its memory then and after 20,000 queries, and what two processes do together by what one does. On an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FIRST = """
from intel_quantized_embeddings import Encoder
Encoder.load({model!r}, runtime="native").encode_queries(["Where does the river end?"])
"""
MEMORY = """
from intel_quantized_embeddings import Encoder
encoder = Encoder.load({model!r}, runtime="native")
encoder.encode_queries(["Where does the river end?"])
memory = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
print(f"{{memory():.0f}} MB", end="")
for number in range({queries}):
    encoder.encode_queries([f"question number {{number}} about rivers"])
print(f", {{memory():.0f}} MB after {queries} queries")
"""
SHAPES = {"base": (12, 768), "large": (24, 1024)}  # layers, numbers a token
WORKER = """
import logging, sys, time
logging.disable()  # long texts are cut, and each call says so
from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.quantization.calibration import built_in_texts
texts = [*built_in_texts().documents, *built_in_texts().queries]
encoder = Encoder.load({model!r}, runtime="native")
encoder.encode_documents(texts)
print("ready", flush=True)
for line in sys.stdin:
    started, count = time.time(), 0
    while time.time() < started + 5:
        count += len(encoder.encode_documents(texts))
    print(count / (time.time() - started), flush=True)
"""


def main() -> None:
    """Measure, or write the model that is measured by `iqe benchmark`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--queries", type=int, default=20_000)
    for shape in SHAPES:
        parser.add_argument(
            f"--write-{shape}", metavar="FOLDER", type=Path, help=f"write a model of BERT-{shape}'s shape"
        )
    arguments = parser.parse_args()
    written = {shape: folder for shape in SHAPES if (folder := getattr(arguments, f"write_{shape}")) is not None}
    for shape, folder in written.items():
        write_bert(folder, *SHAPES[shape])
    if written:
        return
    with tempfile.TemporaryDirectory() as folder:
        int8 = Path(folder) / "int8"
        alone = quantized(arguments.model, Path(folder) / "unmeasured", measure=False)
        print(f"quantize: {quantized(arguments.model, int8):.1f} s with its fidelity report, {alone:.1f} s without")
        print(f"to the first vector: {statistics.median(first_vector(str(int8), Path(folder) / 'bytecode')):.2f} s")
        subprocess.run([sys.executable, "-c", MEMORY.format(model=str(int8), queries=arguments.queries)], check=True)
        print(f"two processes: {statistics.median(together(str(int8))):.2f} of one")


def quantized(model: str, output: Path, *, measure: bool = True) -> float:
    """Quantize a model; return the seconds."""
    from intel_quantized_embeddings import quantize

    started = time.perf_counter()
    quantize(model, output, runtime="native", measure=measure)
    return time.perf_counter() - started


def first_vector(model: str, bytecode: Path, rounds: int = 10) -> list[float]:
    """Return the seconds that processes live to encode one query, Python's start included.

    They find the package's modules compiled, as after pip has installed it.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    seconds = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", FIRST.format(model=model)], check=True, env=environment)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def together(model: str, rounds: int = 5) -> list[float]:
    """Return what two processes encode in 5 s by what one does, round by round."""
    command = [sys.executable, "-W", "ignore", "-c", WORKER.format(model=model)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    def heard(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()

    def speed(processes: list[subprocess.Popen[str]]) -> float:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return sum(float(heard(process)) for process in processes)

    for process in both:
        heard(process)
    ratios = []
    for _ in range(rounds):
        one = speed(both[:1])
        ratios.append(speed(both) / one)
    for process in both:
        process.communicate()
    return ratios


def write_bert(folder: Path, layers: int, hidden: int) -> None:
    """Write a BERT of that size, heads 64 wide, with random weights and all-MiniLM-L6-v2's tokenizer."""
    from safetensors.numpy import save_file

    from intel_quantized_embeddings.models.hub import MINILM, find_model

    inner = 4 * hidden
    shutil.copytree(find_model(MINILM).path, folder)
    for name, changes in {
        "config.json": {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // 64,
            "intermediate_size": inner,
        },
        "1_Pooling/config.json": {"word_embedding_dimension": hidden},
    }.items():
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    config = json.loads((folder / "config.json").read_text())
    random = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}

    def add(name: str, size: float, *shape: int) -> None:
        weights[name] = random.standard_normal(shape, dtype=np.float32) * np.float32(size)

    def add_norm(name: str) -> None:
        weights[f"{name}.weight"] = np.ones(hidden, np.float32)
        weights[f"{name}.bias"] = np.zeros(hidden, np.float32)

    add("embeddings.word_embeddings.weight", 0.05, config["vocab_size"], hidden)
    add("embeddings.position_embeddings.weight", 0.02, config["max_position_embeddings"], hidden)
    add("embeddings.token_type_embeddings.weight", 0.02, 2, hidden)
    add_norm("embeddings.LayerNorm")
    for layer in range(layers):
        place = f"encoder.layer.{layer}"
        for part, outputs, inputs in (
            *((f"attention.self.{name}", hidden, hidden) for name in ("query", "key", "value")),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ):
            add(f"{place}.{part}.weight", 0.03, outputs, inputs)
            add(f"{place}.{part}.bias", 0.02, outputs)
        add_norm(f"{place}.attention.output.LayerNorm")
        add_norm(f"{place}.output.LayerNorm")
    save_file(weights, folder / "model.safetensors")


if __name__ == "__main__":
    main()
