"""`iqe ingest` and `iqe query`: options, output, and exit status."""

from __future__ import annotations

import json
import sys
import textwrap
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.cli.options import Command, given, load_keywords
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError, VectorStoreError
from intel_quantized_embeddings.reporting.terminal import terminal_width

if TYPE_CHECKING:
    from intel_quantized_embeddings.ingestion import Passage

# Exit statuses, for scripts.
INCOMPLETE, REFUSED, STOPPED = 1, 2, 3
_LINES_SHOWN = 4
_PLACES_SHOWN = 20  # beside the first
_AS_JSON = ("--json", bool, None, "print one JSON value, for scripts")


def _collection(*, required: bool) -> tuple[tuple[object, ...], ...]:
    return (
        ("--chroma", str, "DIR|URL", "Chroma's folder, or http://HOST:PORT", {"required": required}),
        ("--collection", str, "NAME", "made where there is none", {"required": required}),
    )


def run_ingest(options: Namespace) -> int:
    """`iqe ingest`."""
    try:
        from intel_quantized_embeddings.ingestion import ingest

        report = ingest(
            options.sources,
            dry_run=options.dry_run,
            reindex=options.reindex,
            show_progress=sys.stderr.isatty(),
            **given(options, "chroma", "collection", "ledger", "chunk_tokens", "overlap_tokens", "patience_s"),
            **_model_or_store(options),
        )
    except QuantizedEmbeddingsError as exc:
        return _failed(exc, as_json=options.json)
    print(json.dumps(report.to_mapping()) if options.json else report)
    return 0 if report.complete else INCOMPLETE


def _model_or_store(options: Namespace) -> dict[str, Any]:
    """Return what loads the encoder, or the store that was made with it."""
    model = {**given(options, "model"), **load_keywords(options)}
    if options.store is None:
        return model | ({"save": options.save} if options.save else {})  # which is refused without a store
    from intel_quantized_embeddings.cli.stores import imported, made

    store = made(options.store, model)
    return {"store": store} | ({"save": imported(options.save)} if options.save else {})


def run_query(options: Namespace) -> int:
    """`iqe query`."""
    try:
        from intel_quantized_embeddings.ingestion import query

        passages = query(
            options.question,
            chroma=options.chroma,
            collection=options.collection,
            **given(options, "k", "model"),
            **load_keywords(options),
        )
    except QuantizedEmbeddingsError as exc:
        return _failed(exc, as_json=options.json)
    if options.json:
        print(json.dumps([passage.to_mapping() for passage in passages]))
    else:
        print("\n\n".join(_shown(rank, passage) for rank, passage in enumerate(passages, start=1)) or "nothing in it")
    return 0


def _shown(rank: int, passage: Passage) -> str:
    """Format a passage for a terminal: its place and its first lines."""
    title = passage.metadata.get("title")
    head = f"{rank}. {_place(passage.metadata, passage.id)}  (distance {passage.distance:.3f})"
    others = [f"   also in {_place(place, passage.id)}" for place in passage.places[1 : _PLACES_SHOWN + 1]]
    if len(passage.places) > _PLACES_SHOWN + 1:
        others.append(f"   and in {len(passage.places) - _PLACES_SHOWN - 1:,} places more, which --json lists")
    lines = [*([str(title)] if title else []), *passage.text.splitlines()]
    text = textwrap.wrap(
        " ".join(" ".join(lines).split()), terminal_width() - 3, max_lines=_LINES_SHOWN, placeholder=" ..."
    )
    return "\n".join([head, *others, *(f"   {line}" for line in text)])


def _place(metadata: Mapping[str, Any], otherwise: str) -> str:
    """Format a document's place for a terminal: its file, and the place in it."""
    finer = "".join(f", {name} {metadata[name]}" for name in ("page", "id") if name in metadata)
    return f"{metadata.get('source', otherwise)}{finer}"


def _failed(exc: QuantizedEmbeddingsError, *, as_json: bool) -> int:
    """Report an error, for people on stderr and for scripts on stdout."""
    print(f"iqe: {exc}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"type": type(exc).__name__, "message": str(exc)}}))
    return STOPPED if isinstance(exc, VectorStoreError) else REFUSED


COMMANDS = (
    Command(
        "ingest",
        run_ingest,
        help="bring files into a Chroma collection or another vector store",
        description="Read files and folders (.md .txt .rst .html .py .pdf, and .jsonl with a text a line), split them, "
        "and bring a Chroma collection, or any LangChain store, to hold exactly their pieces: only new ones are "
        "embedded, and what is gone from these sources is removed. Interrupted at any moment, it goes on when run "
        "again.",
        epilog="Ends with status 0; 1 where something could not be read or stored (all else is done); 2 where "
        "nothing was done, as of a wrong option or a collection of another encoder; 3 where it had to stop, as of a "
        "full disk: run it again to go on.",
        rows=(
            ("sources", str, "SOURCE", "a file or a folder", {"nargs": "+"}),
            *_collection(required=False),
            (
                *("--store", str, "MODULE:FUNCTION"),
                "instead of Chroma: your function that makes a LangChain store of the embeddings that it is given",
            ),
            ("--ledger", str, "FILE", "remembers what that store holds; kept as long as it"),
            (
                *("--save", str, "MODULE:FUNCTION"),
                "called with that store to make it last, where it lives in memory",
            ),
            _AS_JSON,
            ("--model", str, "MODEL", "a folder or a hub id; BGE-small v1.5 when left out"),
            ("--chunk-tokens", int, "N", "longest piece (256, or what the model reads)"),
            ("--overlap-tokens", int, "N", "shared by neighbours (an eighth of a piece)"),
            ("--dry-run", bool, None, "say what would be done and write nothing"),
            ("--reindex", bool, None, "empty the collection first, even one of another encoder, and embed all"),
            ("--patience", float, "SECONDS", "wait so long for a server to return (60)", "patience_s"),
        ),
        loads=True,
    ),
    Command(
        "query",
        run_query,
        help="ask a Chroma collection",
        description="Show the pieces nearest to a question, by the encoder that the collection names.",
        epilog="Ends with status 0, 2 where it refused, 3 where Chroma can't be reached or read.",
        rows=(
            ("question", str, "QUESTION", None),
            *_collection(required=True),
            _AS_JSON,
            ("-k", int, "N", "how many to show (5)"),
            ("--model", str, "MODEL", "where the collection's own lies elsewhere; must be the same"),
        ),
        loads=True,
    ),
)
