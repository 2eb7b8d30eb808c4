"""The steps that the RAG examples take, whatever framework is in between.

An int8 model, made once; a corpus; a Chroma collection that knows which encoder filled it; answers
on the terminal.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chromadb import Collection
from chromadb.api import ClientAPI

from corpus import Entry, read_corpus, standard_library_entries
from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.errors import OtherEncoderError, QuantizedEmbeddingsError
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.integrations.chroma_collections import connect
from intel_quantized_embeddings.integrations.chroma_collections import open_collection as open_collection_of
from intel_quantized_embeddings.models.source import MANIFEST_FILE

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
QUESTIONS = (
    "How do I get the most common items of a list?",
    "How do I make a temporary file that deletes itself?",
    "How do I make a token that nobody can guess?",
    "How can I cache the result of an expensive function call?",
    "How do I wait for several tasks to finish?",
)
AT_ONCE = 2000  # stored together: what an interrupted run loses at the most
SAMPLE, SHORT = 60, 800  # entries encoded in fp32 to compare with, and so many characters of each
WIDTH = min(shutil.get_terminal_size().columns, 100)


class ExampleError(QuantizedEmbeddingsError):
    """A mistake that the examples notice themselves."""


def parser(description: str, *, keeps_vectors: bool = True) -> argparse.ArgumentParser:
    """The options that the examples have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--docs", metavar="DIR", type=Path, help="a folder of .md, .txt, .rst and .py files to search")
    options.add_argument("--question", metavar="TEXT", action="append", help="ask this instead (may be repeated)")
    options.add_argument("--model", default=MODEL, help="a hub id or a folder, fp32 or already int8 (%(default)s)")
    options.add_argument("--data", metavar="DIR", type=Path, default=Path(".demo"), help="what is kept (%(default)s)")
    if keeps_vectors:
        options.add_argument("--fresh", action="store_true", help="empty the collection and embed everything again")
    return options


def run(example: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run an example; what can go wrong becomes one line on stderr and exit status 1."""
    logging.basicConfig(format="  (%(message)s)")
    try:
        example(options)
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what is already embedded is kept.", file=sys.stderr)
        return 130
    return 0


def int8_folder(model: str, data: Path) -> Path:
    """Find the int8 form of a model, or make it, and say how faithful it is."""
    heading("Model")
    folder = Path(model).expanduser()
    if is_int8(model):
        return described(folder, f"{folder} is int8 already")
    # The whole path of a folder, so that two folders of one name stay two models.
    name = folder.resolve().as_posix() if folder.is_dir() else model
    folder = data / f"{re.sub(r'[^A-Za-z0-9_.]+', '-', name).strip('-')}-int8"
    if (folder / MANIFEST_FILE).is_file():
        return described(folder, f"quantized before: {folder}")
    report = quantize(model, folder, progress=say)  # says how faithful it is and how long it takes as it goes
    say(f"{report.bytes_before / 1e6:.1f} MB in fp32 -> {report.bytes_after / 1e6:.1f} MB in int8")
    return folder


def is_int8(model: str) -> bool:
    """Whether a model is an int8 folder."""
    return (Path(model).expanduser() / MANIFEST_FILE).is_file()


def described(folder: Path, what: str) -> Path:
    """Print what an int8 folder is and what was measured when it was made."""
    say(what)
    fidelity = Manifest.read(folder).fidelity
    say(f"  cosine to fp32: documents {fidelity.documents}")
    say(f"  cosine to fp32: queries {fidelity.queries}")
    return folder


def corpus_entries(docs: Path | None, data: Path | None = None) -> list[Entry]:
    """Read the corpus and say what it is; what takes long is kept in `data`, the example's own folder."""
    heading("Documents")
    if docs is not None and not docs.is_dir():
        raise ExampleError(f"--docs {docs} is not a folder.")
    entries = standard_library_entries(data) if docs is None and data is not None else read_corpus(docs)
    if not entries:
        raise ExampleError(
            f"{docs or 'the standard library'} has no texts; --docs takes .md, .txt, .rst and .py files."
        )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    say(f"{len(entries):,} texts in {docs or f'the docstrings of everyday modules of Python {version}'}")
    return entries


def collection_name(framework: str, docs: Path | None) -> str:
    """One collection a framework and corpus, so that each stays filled when the other is asked."""
    if docs is None:
        return framework
    return f"{framework}-{hashlib.sha256(docs.resolve().as_posix().encode()).hexdigest()[:12]}"


def open_collection(data: Path, name: str, *, encoder: Encoder, fresh: bool) -> tuple[ClientAPI, Collection]:
    """Open a collection that holds vectors of this encoder and of no other.

    Args:
        data: The folder that the database is in.
        name: The collection.
        encoder: What fills it and asks it.
        fresh: Start anew.
    """
    client = connect(data / "chroma")
    if fresh and name in [existing.name for existing in client.list_collections()]:
        client.delete_collection(name)
    try:
        return client, open_collection_of(client, name, encoder=encoder, create=True)
    except OtherEncoderError as exc:
        raise ExampleError(f"{exc} Here: add --fresh to embed everything again, or choose another --data.") from exc


def fill(
    client: ClientAPI,
    collection: Collection,
    entries: Sequence[Entry],
    add: Callable[[Sequence[Entry]], object],
) -> int:
    """Bring a collection to hold exactly these entries; only new ones are embedded. Returns how many.

    Args:
        client: Knows how many Chroma takes at once.
        collection: What to fill.
        entries: The corpus.
        add: Embeds and stores some of them.
    """
    at_once = batch_size(client)
    missing = missing_entries(client, collection, entries)
    if not missing:
        say("all of them are in the collection already: nothing to embed")
        return 0
    started = time.perf_counter()
    for start in range(0, len(missing), at_once):
        add(missing[start : start + at_once])
    say_speed(len(missing), time.perf_counter() - started)
    return len(missing)


def missing_entries(client: ClientAPI, collection: Collection, entries: Sequence[Entry]) -> list[Entry]:
    """Remove from a collection what is not among the entries, and find those that it does not hold yet."""
    stored = set(collection.get(include=[])["ids"])
    gone = sorted(stored.difference(entry.id for entry in entries))
    before = collection.count()
    for start in range(0, len(gone), batch_size(client)):
        collection.delete(ids=gone[start : start + batch_size(client)])
    if gone:  # Chroma's own number is how many it was asked for
        say(f"removed {before - collection.count():,} that are no longer among them")
    return [entry for entry in entries if entry.id not in stored]


def batch_size(client: ClientAPI) -> int:
    """How many are stored or removed together."""
    return min(client.get_max_batch_size(), AT_ONCE)


def heading(text: str) -> None:
    """Print the title of a part."""
    print(f"\n{text} {'-' * (WIDTH - len(text) - 1)}", flush=True)


def say(line: str) -> None:
    """Print a line of a part."""
    print(f"  {line}", flush=True)


def say_speed(n_documents: int, seconds: float) -> None:
    """Print how many documents were embedded and how fast."""
    say(f"embedded and stored {n_documents:,} in {seconds:.1f} s: {n_documents / seconds:,.0f} documents a second")


def say_cost_of_fp32(model: str, encoder: Encoder, entries: Sequence[Entry]) -> None:
    """Encode some of the entries with the int8 encoder and with the fp32 model it is of, and print the speeds."""
    texts = [entry.titled[:SHORT] for entry in entries[:: max(1, len(entries) // SAMPLE)]]
    speeds = []
    for one in (encoder, Encoder.load(model, precision="fp32")):
        started = time.perf_counter()
        one.encode_documents(texts)
        speeds.append(len(texts) / (time.perf_counter() - started))
    say(f"of {len(texts)} of them, int8 encodes {speeds[0]:,.0f} a second and fp32 {speeds[1]:,.0f}")


def show_passage(rank: int, score: float, source: str, text: str) -> None:
    """Print a passage shortened to two lines under its source and score."""
    print(f"  {rank}. {source}  ({score:.3f})")
    for line in textwrap.wrap(" ".join(text.split()), WIDTH - 5, max_lines=2, placeholder=" ..."):
        print(f"     {line}")
