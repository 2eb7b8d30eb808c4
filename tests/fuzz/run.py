"""Fuzz one target with atheris: PYTHONPATH=tests python -m fuzz.run TARGET [SECONDS]

Needs `pip install atheris==3.0.0`. Coverage of this package leads it; files are spoilt by their structure or by
atheris's own mutations. What is found is left in .fuzz/ and becomes a test in test_mutations.py.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["intel_quantized_embeddings"]):
    from fuzz.folders import write_folders
    from fuzz.mutations import spoil
    from fuzz.targets import TARGETS, run
    from intel_quantized_embeddings import Encoder  # noqa: F401 - imported now, to be instrumented


def main() -> None:
    name, seconds = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "60"
    target = TARGETS[name]
    logging.disable(logging.CRITICAL)  # that a text was cut is said a million times
    root = Path(tempfile.mkdtemp(prefix="iqe-fuzz-"))
    folder = write_folders(root).copy(target, root / "spoilt")
    good = (folder / target.file).read_bytes()
    found = Path(".fuzz") / name
    corpus = root / "corpus"
    corpus.mkdir()
    (corpus / "good").write_bytes(good)
    found.mkdir(parents=True, exist_ok=True)

    def mutated(content: bytes, max_size: int, seed: int) -> bytes:
        if random.Random(seed).random() < 0.5:
            return atheris.Mutate(content, max_size)
        return spoil(good if seed % 2 else content, seed)[:max_size]

    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={seconds}",
            f"-max_len={2 * len(good) + 10_000}",
            "-rss_limit_mb=4096",
            "-timeout=60",
            "-print_final_stats=1",
            f"-artifact_prefix={found}/",
        ],
        lambda content: run(target, folder, content),
        custom_mutator=mutated,
    )
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
