"""`iqe models`: the architectures that run, and the models known by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from intel_quantized_embeddings.architectures.table import BUILT_IN
from intel_quantized_embeddings.models.known_models import (
    KNOWN_CROSS_ENCODERS,
    KNOWN_MODELS,
    KNOWN_SPARSE,
    KnownModels,
    Listed,
)
from intel_quantized_embeddings.reporting.terminal import wrapped


def catalogue_json() -> str:
    """Return the catalogue for scripts: `architectures`; `models`, `cross_encoders` and `sparse` with their facts."""
    facts = {
        "architectures": list(BUILT_IN),
        "models": [
            {
                "id": model,
                "architecture": listed.architecture,
                "dimension": listed.dimension,
                "shorter_dimensions": list(listed.shorter),
                "pooling": known.pooling.value,
                "query_instruction": known.query_instruction,
                "document_instruction": known.document_instruction,
                "licence": known.licence,
                "source": _source(model),
            }
            for known in KNOWN_MODELS
            for model, listed in known.models.items()
        ],
        "cross_encoders": [
            {"id": model, "architecture": listed.architecture, "licence": listed.licence, "source": _source(model)}
            for model, listed in KNOWN_CROSS_ENCODERS.items()
        ],
        "sparse": [{"id": model, **asdict(listed), "source": _source(model)} for model, listed in KNOWN_SPARSE.items()],
    }
    return json.dumps(facts, indent=2)


def catalogue_text() -> str:
    """Return the catalogue for people."""
    lines = [
        *wrapped(f"Built in, from model.safetensors: {', '.join(BUILT_IN)}."),
        *wrapped("Others, once converted with `iqe export MODEL OUT`: what optimum-intel knows."),
        "",
        *wrapped(
            "Any model of these architectures runs; its own files say how it pools, its instructions and its longest "
            "text. These are known by name too, where the files don't say it. Vectors of 64-768 numbers may be cut "
            "to some sizes from 64 up (truncate_dim); --json has them all."
        ),
        *_tables(),
        "",
        *wrapped(
            "Each is at https://huggingface.co/ID. Licences are those of the weights; read them. `iqe info FOLDER` "
            "tells what a folder will be used with."
        ),
    ]
    return "\n".join(lines)


def _source(model: str) -> str:
    return f"https://huggingface.co/{model}"


def _tables() -> Iterator[str]:
    """Return a table for all models with the same pooling and instructions, in the order of the first of each."""
    alike: dict[tuple[str, str, str], list[KnownModels]] = {}
    for known in KNOWN_MODELS:
        if known.models:
            key = (known.pooling.value, known.query_instruction, known.document_instruction)
            alike.setdefault(key, []).append(known)
    sized = {model: _sizes(listed) for known in KNOWN_MODELS for model, listed in known.models.items()}
    end = max(len(model) + 1 + len(sizes) for model, sizes in sized.items())
    for (pooling, query, document), families in alike.items():
        yield ""
        yield f"pooling {pooling}{'' if query or document else ', no instructions'}"
        yield from _begins(queries=query, documents=document)
        yield from _rows(((model, sized[model], known.licence) for known in families for model in known.models), end)
    yield ""
    yield "cross-encoders"
    yield from _rows(((model, "", listed.licence) for model, listed in KNOWN_CROSS_ENCODERS.items()), end)
    for queries, heading in (("layers", "sparse models"), ("table", "sparse models, queries looked up in a table")):
        listed = {model: one for model, one in KNOWN_SPARSE.items() if one.queries == queries}
        yield ""
        yield heading
        yield from _rows(((model, "", one.licence) for model, one in listed.items()), end)


def _begins(**instructions: str) -> Iterator[str]:
    for kind, text in instructions.items():
        if not text:
            continue
        # A space at its end stays on the line of the closing quote.
        quoted = json.dumps(text, ensure_ascii=False).replace(' "', '\N{NO-BREAK SPACE}"')
        shown = wrapped(f"{kind} begin with {quoted}", indent="  ")
        yield from (line.replace("\N{NO-BREAK SPACE}", " ") for line in shown)


def _sizes(listed: Listed) -> str:
    return f"{listed.shorter[0]}-{listed.dimension}" if listed.shorter else str(listed.dimension)


def _rows(rows: Iterable[tuple[str, str, str]], end: int) -> Iterator[str]:
    """Return a row for each model in 80 columns; sizes end in one column."""
    yield "-" * (end + 13)
    for model, sizes, licence in rows:
        yield f"{model}{sizes:>{max(0, end - len(model))}} {licence}"
