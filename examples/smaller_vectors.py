"""Search bits in memory, then put what they found in order by int8 vectors on disk.

    python examples/smaller_vectors.py
    python examples/smaller_vectors.py --docs FOLDER --question "When is the rent due?"
    python examples/smaller_vectors.py --model mixedbread-ai/mxbai-embed-large-v1 --truncate-dim 512

Memory holds a thirty-second of what float32 vectors need, and the disk a quarter. Searches Python's own docstrings, or
the .md, .txt, .rst and .py files of a folder, in Faiss. `--truncate-dim` is for models trained for it (Matryoshka).
Needs `pip install -e '.[examples]'`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    import faiss
    import numpy as np

    from corpus import Entry, read_corpus
    from intel_quantized_embeddings import Encoder
    from intel_quantized_embeddings.errors import OptionError, QuantizedEmbeddingsError
    from intel_quantized_embeddings.vectors import cosines, to_binary, to_int8
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e '.[examples]'")

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUESTION = "How do I make a temporary file that deletes itself?"
TOP = 5
CANDIDATES = 10 * TOP  # bits order only roughly: what belongs in the first 5 is among the first 50, as a rule


def in_bits(documents: np.ndarray) -> faiss.IndexBinaryFlat:
    """An index of the vectors' signs, searched by Hamming distance; rows are its ids."""
    bits = to_binary(documents)
    index = faiss.IndexBinaryFlat(8 * bits.shape[1])
    index.add(bits)
    return index


def rescored(query: np.ndarray, rows: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The rows in the order of their cosines to the query; only they are read from the disk."""
    return rows[np.argsort(-cosines(query, stored[rows]), kind="stable")]


def show(title: str, rows: np.ndarray, entries: Sequence[Entry], *, expected: np.ndarray) -> None:
    """Print the first of what was found."""
    print(f"\n{title}: {len(np.intersect1d(rows[:TOP], expected))} of float32's first {len(expected)}")
    for place, row in enumerate(rows[:TOP], start=1):
        print(f"  {place}. {entries[row].source}: {entries[row].text.strip().splitlines()[0][:70]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Search bits, then int8 vectors.")
    parser.add_argument("--docs", metavar="FOLDER", type=Path, help="search these files instead of Python's docstrings")
    parser.add_argument("--question", default=QUESTION, help="what to look for (%(default)s)")
    parser.add_argument("--model", default=MODEL, help="a hub id or a folder (%(default)s)")
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="keep the first N numbers of each vector")
    options = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")  # what loading and encoding have to tell
    if options.docs is not None and not options.docs.is_dir():
        print(f"error: no folder {options.docs}", file=sys.stderr)
        return 1
    try:
        encoder = Encoder.load(options.model, truncate_dim=options.truncate_dim)
        if encoder.settings.lengths_matter:
            raise OptionError(f"bits and int8 keep no lengths, and {options.model} is compared by them.")
        entries = read_corpus(options.docs)
        documents = encoder.encode_documents([entry.titled for entry in entries], show_progress=sys.stderr.isatty())
        query = encoder.encode_queries([options.question])[0]
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1

    expected = np.argsort(-cosines(query, documents), kind="stable")[:TOP]
    index = in_bits(documents)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "vectors.npy")
        np.save(file, to_int8(documents))
        stored = np.load(file, mmap_mode="r")
        print(f"{options.question}\n{len(entries):,} texts, vectors of {encoder.dimension} numbers")
        print(f"float32 {documents.nbytes:,} bytes, int8 {stored.nbytes:,}, bits {index.code_size * index.ntotal:,}")
        _, (rows,) = index.search(to_binary(query)[np.newaxis], min(CANDIDATES, len(entries)))
        show("Bits alone", rows, entries, expected=expected)
        show(f"{len(rows)} found by bits, in order by int8", rescored(query, rows, stored), entries, expected=expected)
        del stored  # closes the file
    return 0


if __name__ == "__main__":
    sys.exit(main())
