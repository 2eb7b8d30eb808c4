"""Find documents by their words, then let a model put the first of them in a better order.

    python examples/rerank.py
    python examples/rerank.py --model BAAI/bge-reranker-base --question "How do I run a command?"
    python examples/rerank.py --docs FOLDER --question "When is the rent due?"

Searches Python's own docstrings, or the .md, .txt, .rst and .py files of a folder. The default model is a bi-encoder,
which compares vectors; a cross-encoder such as BAAI/bge-reranker-base reads each document with the question. Needs
`pip install -e '.[examples]'`.
"""

from __future__ import annotations

import argparse
import logging
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

try:
    from corpus import Entry, read_corpus
    from intel_quantized_embeddings import Reranker
    from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e '.[examples]'")

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUESTION = "How do I copy a folder with everything in it?"


def words(text: str) -> set[str]:
    """The words of a text, lower case; those of a name with dots or underscores apart."""
    return set(re.findall(r"[a-z0-9]+", text.lower()))


def by_words(question: str, entries: Sequence[Entry], *, count: int) -> list[Entry]:
    """The entries that share words with the question, rare words weighing more and long texts less."""
    asked = words(question)
    of_entry = [words(entry.titled) for entry in entries]
    seen_in = Counter(word for held in of_entry for word in held & asked)
    weights = {word: math.log(len(entries) / times) for word, times in seen_in.items()}

    def score(place: int) -> float:
        return sum(weights[word] for word in sorted(of_entry[place] & asked)) / math.sqrt(10 + len(of_entry[place]))

    scores = {place: score(place) for place in range(len(entries))}
    return [entries[place] for place in sorted(scores, key=scores.__getitem__, reverse=True)[:count]]


def show(title: str, entries: Sequence[Entry]) -> None:
    """Print the first line of each."""
    print(f"\n{title}")
    for place, entry in enumerate(entries, start=1):
        print(f"  {place}. {entry.source}: {entry.text.strip().splitlines()[0][:70]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Rerank what a search by words finds.")
    parser.add_argument("--docs", metavar="FOLDER", type=Path, help="search these files instead of Python's docstrings")
    parser.add_argument("--question", default=QUESTION, help="what to look for (%(default)s)")
    parser.add_argument("--model", default=MODEL, help="a bi-encoder or cross-encoder, hub id or folder (%(default)s)")
    parser.add_argument("--candidates", type=int, default=100, help="how many the model reads (%(default)s)")
    parser.add_argument("--top", type=int, default=5, help="how many are shown (%(default)s)")
    options = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")  # what loading and encoding have to tell
    if options.docs is not None and not options.docs.is_dir():
        print(f"error: no folder {options.docs}", file=sys.stderr)
        return 1
    try:
        reranker = Reranker.load(options.model)
        found = by_words(options.question, read_corpus(options.docs), count=options.candidates)
        started = time.perf_counter()
        ranked = reranker.rank(options.question, [entry.titled for entry in found], top_n=options.top)
        took = 1000 * (time.perf_counter() - started)
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    print(options.question)
    show("By words alone:", found[: options.top])
    show(f"Reranked by {options.model} ({len(found)} texts in {took:.0f} ms):", [found[one.index] for one in ranked])
    return 0


if __name__ == "__main__":
    sys.exit(main())
