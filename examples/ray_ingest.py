"""Embed a folder of texts with Ray, into Parquet files and a Chroma collection, and ask it questions.

    python examples/ray_ingest.py --docs ~/notes --question "When is the rent due?"
    python examples/ray_ingest.py --docs /shared/notes --data /shared/demo --address auto --actors 40 --cores 4

Killed at any moment and started again, it embeds what no Parquet file holds yet and stores what Chroma lacks; a file
is there whole or not at all. Without --address it runs on this machine alone. With it, the folders named by --docs,
--data and --model must be at the same place on every machine. Needs `pip install -e '.[examples,ray]'`.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Read when Ray is imported: no report to its makers, and on one machine alone ports on the loopback only. With
# --address the cluster's own settings count, and those of the environment of this process.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if not any(argument.startswith("--address") for argument in sys.argv):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import ray
    import ray.data
    from chromadb import Collection
    from filelock import FileLock, Timeout

    import rag_steps as steps
    from intel_quantized_embeddings import Encoder
    from intel_quantized_embeddings.integrations.ray import EmbedDocuments
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e '.[examples,ray]'")

from corpus import Entry

ROWS = 1000  # of a Parquet file: what a killed actor loses at the most
PASSAGES = 3


class EmbedIntoFiles(EmbedDocuments):
    """An actor that writes each batch as a file of its own, so that vectors never travel.

    Args:
        folder: Where to; the same for all machines.
        options: Those of `EmbedDocuments`.
    """

    def __init__(self, *, folder: Path, **options: Any) -> None:
        super().__init__(**options)
        self._folder = folder

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed and write rows; how many comes back."""
        table = super().__call__(batch).replace_schema_metadata({"encoder": self.encoder.fingerprint})
        name = hashlib.sha256("".join(table["id"].to_pylist()).encode()).hexdigest()[:16]
        write_whole(table, self._folder / f"part-{name}.parquet")
        return pa.table({"rows": [table.num_rows]})


def ingest(options: argparse.Namespace) -> None:
    """Quantize, embed, store, ask."""
    model = steps.int8_folder(options.model, options.data).resolve()
    # Loaded here too: for its fingerprint, which every actor's model must have, and to embed questions.
    loaded = Encoder.load(model)
    encoder = loaded.fingerprint
    entries = steps.corpus_entries(options.docs)
    name = steps.collection_name("ray", options.docs)
    folder = options.data.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        steps.heading("Parquet")
        if options.fresh:
            tidy(folder, wanted=set())
        refuse_other_encoder(folder, encoder)
        embed_missing(entries, folder, model=model, encoder=encoder, options=options)
        steps.heading("Chroma")
        client, collection = steps.open_collection(options.data, name, encoder=loaded, fresh=options.fresh)
        missing = {entry.id for entry in steps.missing_entries(client, collection, entries)}
        store(folder, missing, collection, at_once=steps.batch_size(client))
    if options.question:
        steps.heading("Answers (source, similarity)")
    for question in options.question or ():
        ask(collection, question)


def embed_missing(
    entries: Sequence[Entry], folder: Path, *, model: Path, encoder: str, options: argparse.Namespace
) -> None:
    """Bring the Parquet files to hold exactly these entries, each once."""
    wanted = {entry.id for entry in entries}
    stored = tidy(folder, wanted=wanted)
    missing = [entry for entry in entries if entry.id not in stored]
    if not missing:
        steps.say(f"all of them are in {folder} already: nothing to embed")
        return
    steps.say(
        f"{len(missing):,} of {len(entries):,} are in no file yet; {options.actors} x {options.cores} cores embed them"
    )
    with cluster(options):
        # A block of rows is a call of the encoder and a file.
        blocks = [as_table(missing[start : start + options.rows]) for start in range(0, len(missing), options.rows)]
        written = ray.data.from_arrow(blocks).map_batches(
            EmbedIntoFiles,
            fn_constructor_kwargs={"model": model, "fingerprint": encoder, "folder": folder},
            batch_format="pyarrow",
            batch_size=None,
            num_cpus=options.cores,
            compute=ray.data.ActorPoolStrategy(size=min(options.actors, len(blocks))),
        )
        done, started = 0, time.perf_counter()
        for file in written.iter_rows():
            done += file["rows"]
            steps.say(f"{done:,} of {len(missing):,} written, {time.perf_counter() - started:.1f} s")
    # Actors of a run that was killed may have finished a file after this one looked.
    tidy(folder, wanted=wanted)


def as_table(entries: Sequence[Entry]) -> pa.Table:
    """Entries as rows; what is embedded is the text under its source."""
    return pa.table(
        {
            "id": [entry.id for entry in entries],
            "source": [entry.source for entry in entries],
            "text": [entry.titled for entry in entries],
        }
    )


def write_whole(table: pa.Table, file: Path) -> None:
    """Write a file, or replace it, at once: no reader and no killed writer leaves or sees a part of it."""
    temporary = file.with_name(f".{file.name}-{os.getpid()}")
    with temporary.open("wb") as opened:
        pq.write_table(table, opened)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def parts(folder: Path) -> list[Path]:
    """The Parquet files there are."""
    return sorted(folder.glob("part-*.parquet"))


def tidy(folder: Path, *, wanted: set[str]) -> set[str]:
    """Leave every wanted row once and no other, and none of a killed writer's files.

    Returns:
        The ids that are there.
    """
    for leftover in folder.glob(".part-*"):
        leftover.unlink(missing_ok=True)
    there: set[str] = set()
    for part in parts(folder):
        ids = pq.read_table(part, columns=["id"])["id"].to_pylist()
        kept = [key in wanted and key not in there for key in ids]
        there.update(key for key, keep in zip(ids, kept, strict=True) if keep)
        if not any(kept):
            part.unlink()
        elif not all(kept):
            write_whole(pq.read_table(part).filter(pa.array(kept)), part)
    return there


def refuse_other_encoder(folder: Path, encoder: str) -> None:
    """Check that the files hold vectors of this encoder and of no other."""
    for part in parts(folder):
        metadata = pq.read_schema(part).metadata or {}
        filled_by = metadata.get(b"encoder", b"").decode()
        if filled_by != encoder:
            raise steps.ExampleError(
                f"{part} was written with the encoder {filled_by} and this one is {encoder}: their vectors don't "
                f"compare. Add --fresh to embed everything again, or choose another --data."
            )


def store(folder: Path, missing: set[str], collection: Collection, *, at_once: int) -> None:
    """Put the missing rows of the Parquet files into the collection."""
    if not missing:
        steps.say("all of them are in the collection already: nothing to store")
        return
    stored, started = 0, time.perf_counter()
    for part in parts(folder):
        rows = [row for row in pq.read_table(part).to_pylist() if row["id"] in missing]
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            collection.upsert(
                ids=[row["id"] for row in some],
                embeddings=[row["vector"] for row in some],
                documents=[row["text"] for row in some],
                metadatas=[{"source": row["source"]} for row in some],
            )
            stored += len(some)
    seconds = time.perf_counter() - started
    steps.say(f"stored {stored:,} in {seconds:.1f} s: {stored / seconds:,.0f} a second")


def ask(collection: Collection, question: str) -> None:
    """Print the passages nearest to a question, which the collection embeds itself."""
    found = collection.query(query_texts=[question], n_results=PASSAGES)
    print(f"\n{question}")
    passages = zip(found["distances"][0], found["metadatas"][0], found["documents"][0], strict=True)
    for rank, (distance, metadata, text) in enumerate(passages, start=1):
        source = metadata["source"]
        steps.show_passage(rank, 1 - distance, source, text.removeprefix(source))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second run from writing into the same folder."""
    try:
        with FileLock(folder / ".lock").acquire(blocking=False):
            yield
    except Timeout as exc:
        raise steps.ExampleError(
            f"another run is writing into {folder}; wait for it, or choose another --data."
        ) from exc


@contextmanager
def cluster(options: argparse.Namespace) -> Iterator[None]:
    """Connect to a cluster, or be one for a while; what an actor raises becomes one line."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    if options.address:
        ray.init(address=options.address, logging_level="warning")
    else:
        ray.init(
            address="local",
            num_cpus=options.actors * options.cores,
            include_dashboard=False,
            logging_level="warning",
        )
    try:
        yield
    except ray.exceptions.RayError as exc:
        # The errors of actors come with their tracebacks inside; the cause is the last line that names one.
        named = [line for line in str(exc).splitlines() if "Error: " in line] or [repr(exc)]
        raise steps.ExampleError(f"an actor failed: {named[-1].strip()}") from exc
    finally:
        ray.shutdown()


def positive(text: str) -> int:
    """A number of 1 or more."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    options = steps.parser("Embed a folder of texts with Ray, into Parquet files and a Chroma collection.")
    options.add_argument("--address", help="a running Ray cluster, or auto; without it, this machine")
    options.add_argument("--actors", type=positive, default=2, help="processes that embed (%(default)s)")
    options.add_argument("--cores", type=positive, default=1, help="cores for each of them (%(default)s)")
    options.add_argument("--rows", type=positive, default=ROWS, help="rows of a Parquet file (%(default)s)")
    return steps.run(ingest, options.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
