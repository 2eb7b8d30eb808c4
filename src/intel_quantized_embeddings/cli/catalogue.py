"""`iqe models`: which models run, and what is known of some by name."""

from __future__ import annotations

import json
from collections.abc import Iterator

from intel_quantized_embeddings.architectures.table import BUILT_IN
from intel_quantized_embeddings.models.known import KNOWN_MODELS
from intel_quantized_embeddings.reporting.terminal import wrapped


def catalogue_json() -> str:
    """Everything, for scripts: `architectures`, and `models` with their facts."""
    facts = {
        "architectures": list(BUILT_IN),
        "models": [
            {
                "id": model,
                "dimension": dimension,
                "pooling": known.pooling.value,
                "query_instruction": known.query_instruction,
                "document_instruction": known.document_instruction,
                "licence": known.licence,
            }
            for known in KNOWN_MODELS
            for model, dimension in known.dimensions.items()
        ],
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)


def catalogue_text() -> str:
    """Return the same for a person."""
    lines = [
        *wrapped(f"Built in, from model.safetensors: {', '.join(BUILT_IN)}."),
        *wrapped("Others, once converted with `iqe export MODEL OUT`: what optimum-intel knows."),
        "",
        *wrapped(
            "Any model of these architectures runs; its own files say how it pools, its instructions and its longest "
            "text. These are known by name too, where the files don't say it:"
        ),
        "",
        *_table(),
        "",
        *wrapped(
            "Licences are those of the weights; read them. `iqe info FOLDER` tells what a folder will be used with."
        ),
    ]
    return "\n".join(lines)


def _table() -> Iterator[str]:
    width = max(len(model) for known in KNOWN_MODELS for model in known.dimensions)
    yield f"{'model':{width}}  dimension  pooling  licence"
    yield "-" * (width + 30)
    for known in KNOWN_MODELS:
        for model, dimension in known.dimensions.items():
            yield f"{model:{width}}  {dimension:9}  {known.pooling.value:7}  {known.licence}"
        for kind, instruction in (("queries", known.query_instruction), ("documents", known.document_instruction)):
            if instruction:
                yield f'  {kind} begin with "{instruction}"'
