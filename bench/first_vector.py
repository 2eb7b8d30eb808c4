"""From fp32 files to a first int8 vector, in whole processes: this package, and sentence-transformers' OpenVINO.

    python -m bench.first_vector [MODEL] [--rounds 3]

MODEL is a hub id or a folder, the default all-MiniLM-L6-v2. Needs sentence-transformers, optimum-intel and datasets.

Four figures a side, both in turns:

- seconds of a process that reads the fp32 files, quantizes them and embeds a query, imports and exit included;
- seconds of one that finds the int8 files there;
- its memory after it has embedded a corpus and queries: what is resident, and the part of it that is no file's;
- megabytes of what `pip install` brings: the package and all that it depends on, as it is installed here.

sentence-transformers quantizes by its own `export_static_quantized_openvino_model`, with its defaults but for the
texts, 300 of this package's, since those that it would take are on the hub.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# Nothing of either side: what a child process imports is part of what is measured.

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUERY = "Where does the river end?"
OURS, THEIRS = "this package, int8", "sentence-transformers, OpenVINO int8"
CALIBRATED = 300  # texts: the default of optimum-intel
SERVED = 200  # texts and queries, before memory is read
INSTALLED = {OURS: "intel-quantized-embeddings", THEIRS: "sentence-transformers[openvino]"}
AIMED_AT = {"first vector, s": 0.05, "resident, MB": 0.25, "installed, MB": 0.1}

Encode = Callable[[list[str]], object]


def ours(model: str, folder: Path, *, quantize: bool) -> Encode:
    """Load: of the fp32 files, which are quantized while they are read, or what `quantize` has made of them."""
    from intel_quantized_embeddings import Encoder

    return Encoder.load(model if quantize else folder / "ours").encode_queries


def theirs(model: str, folder: Path, *, quantize: bool) -> Encode:
    """Export, quantize, and load what was quantized, as sentence-transformers' page on efficiency does it."""
    from sentence_transformers import SentenceTransformer

    made = folder / "theirs"
    if quantize:
        from sentence_transformers.backend import export_static_quantized_openvino_model

        exported = SentenceTransformer(model, backend="openvino", model_kwargs={"device": "CPU"})
        exported.save_pretrained(str(made))
        export_static_quantized_openvino_model(
            exported, None, str(made), str(folder / "texts"), "default", "train", "text"
        )
    loaded = SentenceTransformer(
        str(made),
        backend="openvino",
        model_kwargs={"device": "CPU", "file_name": "openvino_model_qint8_quantized.xml"},
    )
    return lambda texts: loaded.encode(texts, show_progress_bar=False)


SIDES = {OURS: ours, THEIRS: theirs}


def child(side: str, model: str, folder: Path, *, quantize: bool, serve: bool) -> None:
    """Embed a query, or serve for a while and say what memory that takes. Runs in a process of its own."""
    encode = SIDES[side](model, folder, quantize=quantize)
    encode([QUERY])
    if serve:
        texts = json.loads((folder / "served.json").read_text("utf-8"))
        encode(texts)
        for text in texts:
            encode([text])
        print(json.dumps(memory()))


def memory() -> dict[str, float]:
    """Return this process's memory in MB."""
    kib = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    return {
        name: int(kib[key].split()[0]) / 1024
        for name, key in (("resident, MB", "VmRSS"), ("of it no file's, MB", "RssAnon"))
    }


def run(side: str, model: str, folder: Path, *words: str) -> tuple[float, str]:
    """Run a child process to its end; its seconds, and the last line that it printed."""
    command = [sys.executable, "-m", "bench.first_vector", model, "--child", side, "--folder", str(folder), *words]
    started = time.perf_counter()
    done = subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: {side} failed:\n{done.stderr[-3000:]}")
    return seconds, (done.stdout.strip().splitlines() or [""])[-1]


def installed_mb(requirement: str) -> float:
    """Return the size of a distribution and of all that it depends on, as far as they are installed here."""
    from importlib.metadata import PackageNotFoundError, distribution

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    seen: dict[str, set[str]] = {}
    waiting, total = [Requirement(requirement)], 0
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        extras = set(wanted.extras) - seen.get(name, set())
        if name in seen and not extras:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:  # what was taken out again, as torchvision beside a CPU build of torch
            continue
        if name not in seen:
            total += size_of_files([Path(str(file.locate())) for file in found.files or []])
        seen[name] = seen.get(name, set()) | extras
        for line in found.requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(needed)
    return total / 1e6


def size_of_files(files: Sequence[Path]) -> int:
    """Return the bytes of those that are there; compiled Python may not be."""
    return sum(file.stat().st_size for file in files if file.is_file())


def own_mb() -> float:
    """Return the size of this package, which may be installed from a checkout: then its record has no files."""
    import intel_quantized_embeddings

    folder = Path(intel_quantized_embeddings.__file__).parent
    return size_of_files([file for file in folder.rglob("*") if file.suffix != ".pyc"]) / 1e6


def measure(name: str, rounds: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Return every figure of both sides, by name."""
    from intel_quantized_embeddings import quantize
    from intel_quantized_embeddings.models.hub import find_model

    found: dict[str, dict[str, list[float]]] = {side: {} for side in SIDES}
    model = str(find_model(name).path.resolve())  # both get the same files
    quantize(model, folder / "ours", measure=False)
    write_texts(folder)
    for turn in range(rounds):
        for side in (SIDES, reversed(SIDES))[turn % 2]:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                work = Path(place)
                for shared in ("texts", "served.json", "ours"):
                    (work / shared).symlink_to(folder / shared)
                figures = found[side]
                first, _ = run(side, model, work, "--quantize")
                again, _ = run(side, model, work)
                figures.setdefault("first vector, s", []).append(first)
                figures.setdefault("from int8 files, s", []).append(again)
                for what, value in json.loads(run(side, model, work, "--serve")[1]).items():
                    figures.setdefault(what, []).append(value)
            print(f"round {turn + 1} of {rounds}, {side}: {first:.1f} s, {again:.1f} s", file=sys.stderr)
    found[OURS]["installed, MB"] = [installed_mb(INSTALLED[OURS]) + own_mb()]
    found[THEIRS]["installed, MB"] = [installed_mb(INSTALLED[THEIRS])]
    return found


def write_texts(folder: Path) -> None:
    """Write texts to calibrate with, where `datasets` finds them, and others to serve."""
    from intel_quantized_embeddings.quantization.calibration import built_in_texts

    given = built_in_texts()
    texts = [*given.documents, *given.queries]
    (folder / "texts").mkdir()
    lines = [json.dumps({"text": texts[i % len(texts)]}) for i in range(CALIBRATED)]
    (folder / "texts" / "train.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "served.json").write_text(json.dumps(texts[-SERVED:]), "utf-8")


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Return medians of both sides and their ratio within a round, as Markdown."""
    lines = [f"| | {OURS} | {THEIRS} | ratio | aimed at |", "|---|---|---|---|---|"]
    for name, mine in found[OURS].items():
        others = found[THEIRS][name]
        ratio = statistics.median(a / b for a, b in zip(mine, others, strict=True))
        aim = AIMED_AT.get(name, "")
        lines.append(
            f"| {name} | {statistics.median(mine):.4g} | {statistics.median(others):.4g} | {ratio:.3f} | {aim} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table, or be one of its child processes."""
    options = argparse.ArgumentParser(prog="python -m bench.first_vector", description=__doc__.splitlines()[0])
    options.add_argument("model", nargs="?", default=MODEL, help="a hub id or a folder (%(default)s)")
    options.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--quantize", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args(arguments)
    if given.child is not None:
        child(given.child, given.model, given.folder, quantize=given.quantize, serve=given.serve)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(table(measure(given.model, given.rounds, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
