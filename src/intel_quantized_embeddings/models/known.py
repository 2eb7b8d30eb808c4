"""What is known of published models by name, for folders that do not say it themselves.

A name is a model's own where it is a published one, followed at most by words for how the model was packed. What a
fine-tuned model's name begins with, or its config.json says that it was made from, tells nothing of its instructions.
A folder's own files always win; this table only fills gaps. Sources are the models' cards; a test compares dimensions
and licences with mteb's. Models whose sources disagree, or whose architecture is not built in, are not listed by id,
and still match by pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from intel_quantized_embeddings.options import Pooling

_SEARCH_PASSAGES = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """A family of models that pool alike and take the same instructions.

    Attributes:
        pattern: Matches the last part of a model's id, lower case, whole but for an owner before it (after which
            folder names have "--" or "_" for "/"), and for words such as "int8" and "onnx" at the end, so that
            `bge-small-en-v1.5-rag-int8-static` is a BGE, and `bge-small-en-v1.5-legal` is not known.
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
        pattern=r"bge-(small|base|large)-en(-v1\.5)?",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="mit",
        dimensions={"BAAI/bge-small-en-v1.5": 384, "BAAI/bge-base-en-v1.5": 768, "BAAI/bge-large-en-v1.5": 1024},
    ),
    KnownModels(
        pattern=r"bge-(small|base|large)-zh(-v1\.5)?",
        pooling=Pooling.CLS,
        query_instruction="为这个句子生成表示以用于检索相关文章：",
        licence="mit",
        dimensions={"BAAI/bge-small-zh-v1.5": 512, "BAAI/bge-base-zh-v1.5": 768, "BAAI/bge-large-zh-v1.5": 1024},
    ),
    # https://huggingface.co/BAAI/bge-large-zh-noinstruct
    KnownModels(pattern=r"bge-(small|base|large)-(en|zh)-noinstruct", pooling=Pooling.CLS, licence="mit"),
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
        pattern=r"snowflake-arctic-embed-(xs|s|m|l|m-long|m-v1\.5)",
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
    # https://huggingface.co/intfloat/e5-small-v2, e5-small-unsupervised, multilingual-e5-small
    KnownModels(
        pattern=r"(multilingual-e5-(small|base|large)|e5-(small|base|large)(-v2|-unsupervised)?)",
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
        pattern=r"gte-(small|base|large)",
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
    KnownModels(
        pattern=r"labse",
        pooling=Pooling.CLS,
        licence="apache-2.0",
        dimensions={"sentence-transformers/LaBSE": 768},
    ),
    # https://huggingface.co/MongoDB/mdbr-leaf-ir, mdbr-leaf-mt
    KnownModels(
        pattern=r"mdbr-leaf-(ir|mt)",
        pooling=Pooling.MEAN,
        query_instruction=_SEARCH_PASSAGES,
        licence="apache-2.0",
        dimensions={"MongoDB/mdbr-leaf-ir": 768, "MongoDB/mdbr-leaf-mt": 1024},
    ),
    # Static: https://huggingface.co/minishlab/potion-base-8M, sentence-transformers/static-retrieval-mrl-en-v1
    KnownModels(
        pattern=r"potion-(base-[248]m|base-32m|retrieval-32m|multilingual-128m)",
        pooling=Pooling.MEAN,
        licence="mit",
        dimensions={
            "minishlab/potion-base-8M": 256,
            "minishlab/potion-retrieval-32M": 512,
            "minishlab/potion-multilingual-128M": 256,
        },
    ),
    KnownModels(
        pattern=r"static-(retrieval-mrl-en|similarity-mrl-multilingual)-v1",
        pooling=Pooling.MEAN,
        licence="apache-2.0",
        dimensions={
            "sentence-transformers/static-retrieval-mrl-en-v1": 1024,
        },
    ),
)


# Words at a name's end that say how a model was packed: for what, in which format, how many bits. None of them
# stands for training.
_PACKED = (
    r"(?:[-_.](?:rag|int8|int4|uint8|q8|q4|o[1-4]|fp32|fp16|bf16|[48]bit|onnx|openvino|ov|ipex|torchscript|safetensors"
    r"|static|dynamic|quant|quantized|optimized|avx2|avx512|vnni|arm64|cpu|q|qdq))*"
)


# Before a "_" only those who publish these models, or their int8 forms: "legal_bge-small-en-v1.5" is another model.
_OWNERS = sorted({model.split("/")[0].lower() for known in KNOWN_MODELS for model in known.dimensions} | {"intel"})
_OWNED = rf"(?:(?:.*--)?(?:(?:{'|'.join(_OWNERS)})_)?)"


def look_up(names: Iterable[str]) -> KnownModels | None:
    """Find the first of several names (ids, folder names) that is a known model's own."""
    for name in names:
        last = name.rstrip("/").rsplit("/", 1)[-1].lower()
        for known in KNOWN_MODELS:
            if re.fullmatch(f"{_OWNED}(?:{known.pattern}){_PACKED}", last):
                return known
    return None
