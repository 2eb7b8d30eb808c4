"""What is known of published models by name, for folders that do not say it themselves.

A folder's own files always win; this table only fills gaps. Sources are the models' cards; a test compares dimensions
and licences with mteb's. Models whose sources disagree, or whose architecture is not built in, are not listed by id,
and still match by pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from intel_quantized_embeddings.pooling import Pooling

_SEARCH_PASSAGES = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """A family of models that pool alike and take the same instructions.

    Attributes:
        pattern: Matches in the last part of a model's id, lower case, at its start or after "_" or "--"
            (which stand for "/" in folder names). Anything may follow a match that ends at a word's
            end, so that `bge-small-en-v1.5-rag-int8-static` is a BGE.
        licence: Of the models listed, as the hub abbreviates it.
        dimensions: Hub id -> numbers in a vector, of the models best known.
    """

    pattern: str
    pooling: Pooling
    query_instruction: str = ""
    document_instruction: str = ""
    licence: str
    dimensions: Mapping[str, int] = field(default_factory=dict)


KNOWN_MODELS = (
    # https://huggingface.co/BAAI/bge-small-en-v1.5, bge-small-zh-v1.5, bge-m3
    KnownModels(
        pattern=r"bge-(small|base|large)-en",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="mit",
        dimensions={"BAAI/bge-small-en-v1.5": 384, "BAAI/bge-base-en-v1.5": 768, "BAAI/bge-large-en-v1.5": 1024},
    ),
    KnownModels(
        pattern=r"bge-(small|base|large)-zh",
        pooling=Pooling.CLS,
        query_instruction="为这个句子生成表示以用于检索相关文章：",
        licence="mit",
        dimensions={"BAAI/bge-small-zh-v1.5": 512, "BAAI/bge-base-zh-v1.5": 768, "BAAI/bge-large-zh-v1.5": 1024},
    ),
    KnownModels(pattern=r"bge-m3", pooling=Pooling.CLS, licence="mit", dimensions={"BAAI/bge-m3": 1024}),
    # https://huggingface.co/Snowflake/snowflake-arctic-embed-m, -l-v2.0
    KnownModels(
        pattern=r"snowflake-arctic-embed-[ml]-v2\.0",
        pooling=Pooling.CLS,
        query_instruction="query: ",
        licence="apache-2.0",
        dimensions={"Snowflake/snowflake-arctic-embed-l-v2.0": 1024},
    ),
    KnownModels(
        pattern=r"snowflake-arctic-embed-(xs|s|m|l|m-long|m-v1\.5)(?!-v2)",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="apache-2.0",
        dimensions={
            "Snowflake/snowflake-arctic-embed-xs": 384,
            "Snowflake/snowflake-arctic-embed-s": 384,
            "Snowflake/snowflake-arctic-embed-m": 768,
            "Snowflake/snowflake-arctic-embed-m-v1.5": 768,
            "Snowflake/snowflake-arctic-embed-l": 1024,
        },
    ),
    # https://huggingface.co/mixedbread-ai/mxbai-embed-large-v1
    KnownModels(
        pattern=r"mxbai-embed-(2d-)?large-v1",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="apache-2.0",
        dimensions={"mixedbread-ai/mxbai-embed-large-v1": 1024},
    ),
    # https://huggingface.co/WhereIsAI/UAE-Large-V1
    KnownModels(
        pattern=r"uae-large-v1",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="mit",
        dimensions={"WhereIsAI/UAE-Large-V1": 1024},
    ),
    # https://huggingface.co/intfloat/e5-small-v2, multilingual-e5-small (not the -instruct ones)
    KnownModels(
        pattern=r"(multilingual-)?e5-(small|base|large)(?!.*instruct)",
        pooling=Pooling.MEAN,
        query_instruction="query: ",
        document_instruction="passage: ",
        licence="mit",
        dimensions={
            "intfloat/e5-small-v2": 384,
            "intfloat/e5-base-v2": 768,
            "intfloat/e5-large-v2": 1024,
            "intfloat/multilingual-e5-small": 384,
            "intfloat/multilingual-e5-base": 768,
            "intfloat/multilingual-e5-large": 1024,
        },
    ),
    # https://huggingface.co/thenlper/gte-small
    KnownModels(
        pattern=r"gte-(small|base|large)(?!-(en|zh))",
        pooling=Pooling.MEAN,
        licence="mit",
        dimensions={"thenlper/gte-small": 384, "thenlper/gte-base": 768, "thenlper/gte-large": 1024},
    ),
    # https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    KnownModels(
        pattern=r"all-minilm-l(6|12)-v[12]",
        pooling=Pooling.MEAN,
        licence="apache-2.0",
        dimensions={"sentence-transformers/all-MiniLM-L6-v2": 384, "sentence-transformers/all-MiniLM-L12-v2": 384},
    ),
    KnownModels(
        pattern=r"all-mpnet-base-v[12]",
        pooling=Pooling.MEAN,
        licence="apache-2.0",
        dimensions={"sentence-transformers/all-mpnet-base-v2": 768},
    ),
)


def look_up(names: Iterable[str]) -> KnownModels | None:
    """Find the first of several names (ids, folder names) that is a known model's."""
    for name in names:
        last = name.rstrip("/").rsplit("/", 1)[-1].lower()
        for known in KNOWN_MODELS:
            if re.search(rf"(?:^|_|--)(?:{known.pattern})(?![a-z0-9])", last):
                return known
    return None
