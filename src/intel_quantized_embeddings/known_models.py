"""What is known of published models by name, for folders that do not say it themselves.

A folder's own files always win; this table only fills gaps. Sources are the models' cards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from intel_quantized_embeddings.pooling import Pooling

_SEARCH_PASSAGES = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """A family of models that pool alike and take the same instructions.

    Attributes:
        pattern: Matches in the last part of a model's id, lower case, at its start or after "_" or "--"
            (which stand for "/" in folder names). Anything may follow a match that ends at a word's
            end, so that `bge-small-en-v1.5-rag-int8-static` is a BGE.
    """

    pattern: str
    pooling: Pooling
    query_instruction: str = ""
    document_instruction: str = ""


KNOWN_MODELS = (
    # https://huggingface.co/BAAI/bge-small-en-v1.5, bge-small-zh-v1.5, bge-m3
    KnownModels(pattern=r"bge-(small|base|large)-en", pooling=Pooling.CLS, query_instruction=_SEARCH_PASSAGES),
    KnownModels(
        pattern=r"bge-(small|base|large)-zh",
        pooling=Pooling.CLS,
        query_instruction="为这个句子生成表示以用于检索相关文章：",
    ),
    KnownModels(pattern=r"bge-m3", pooling=Pooling.CLS),
    # https://huggingface.co/Snowflake/snowflake-arctic-embed-m, -l-v2.0
    KnownModels(pattern=r"snowflake-arctic-embed-[ml]-v2\.0", pooling=Pooling.CLS, query_instruction="query: "),
    KnownModels(
        pattern=r"snowflake-arctic-embed-(xs|s|m|l|m-long|m-v1\.5)(?!-v2)",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
    ),
    # https://huggingface.co/mixedbread-ai/mxbai-embed-large-v1
    KnownModels(pattern=r"mxbai-embed-(2d-)?large-v1", pooling=Pooling.CLS, query_instruction=_SEARCH_PASSAGES),
    # https://huggingface.co/WhereIsAI/UAE-Large-V1
    KnownModels(pattern=r"uae-large-v1", pooling=Pooling.CLS, query_instruction=_SEARCH_PASSAGES),
    # https://huggingface.co/intfloat/e5-small-v2, multilingual-e5-small (not the -instruct ones)
    KnownModels(
        pattern=r"(multilingual-)?e5-(small|base|large)(?!.*instruct)",
        pooling=Pooling.MEAN,
        query_instruction="query: ",
        document_instruction="passage: ",
    ),
    # https://huggingface.co/thenlper/gte-small
    KnownModels(pattern=r"gte-(small|base|large)(?!-(en|zh))", pooling=Pooling.MEAN),
    # https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    KnownModels(pattern=r"all-minilm-l(6|12)-v[12]", pooling=Pooling.MEAN),
    KnownModels(pattern=r"all-mpnet-base-v[12]", pooling=Pooling.MEAN),
)


def look_up(names: Iterable[str]) -> KnownModels | None:
    """Find the first of several names (ids, folder names) that is a known model's."""
    for name in names:
        last = name.rstrip("/").rsplit("/", 1)[-1].lower()
        for known in KNOWN_MODELS:
            if re.search(rf"(?:^|_|--)(?:{known.pattern})(?![a-z0-9])", last):
                return known
    return None
