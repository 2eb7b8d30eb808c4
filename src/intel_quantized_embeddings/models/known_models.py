"""What is known of published models: a row a family, and the models best known of each.

Sources are the models' cards and the files of their folders on the hub, at https://huggingface.co/ID; a test compares
with mteb's registry. Models whose sources disagree, or whose architecture is not built in, are not listed by id, and
may still match by pattern.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from intel_quantized_embeddings.options import Pooling

_SEARCH_PASSAGES = "Represent this sentence for searching relevant passages: "
# Of models that take any task in words: the one that their cards, or their stored prompts, have for search.
_WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
_QUESTION = "Instruct: Given a question, retrieve passages that can help answer the question.\nQuery: "


@dataclass(frozen=True, slots=True)
class Listed:
    """A published model.

    Attributes:
        architecture: The `model_type` of its config.json; "static" for a table of tokens' rows, "jina_bert" for a BERT
            with ALiBi.
        dimension: Numbers in a vector.
        shorter: Fewer numbers that its vectors may be cut to (Matryoshka), ascending, as its card says; where the card
            allows any from a least one up, that one and its doublings.
    """

    architecture: str
    dimension: int
    shorter: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """A family of models that pool alike and take the same instructions.

    Attributes:
        pattern: Matches the last part of a model's id, lower case, whole but for an owner before it (after which
            folder names have "--" or "_" for "/"), and for words such as "int8" and "onnx" at the end, so that
            `bge-small-en-v1.5-rag-int8-static` is a BGE, and `bge-small-en-v1.5-legal` is not known.
        behind: What follows the pooling, beside a scaling to length 1, in words. It is in files that no name makes up
            for, so that a folder without them gets no pooling by its name either.
        licence: Of the models listed, as the hub abbreviates it.
        models: Hub id -> facts, of the models best known.
    """

    pattern: str
    pooling: Pooling
    query_instruction: str = ""
    document_instruction: str = ""
    behind: str = ""
    licence: str
    models: Mapping[str, Listed] = field(default_factory=dict)


KNOWN_MODELS = (
    KnownModels(
        pattern=r"(all-(minilm-l(6|12)|mpnet-base)-v[12]|paraphrase-multilingual-(minilm-l12|mpnet-base)-v2"
        r"|static-(retrieval-mrl-en|similarity-mrl-multilingual)-v1)",
        pooling=Pooling.MEAN,
        licence="apache-2.0",
        models={
            "sentence-transformers/all-MiniLM-L6-v2": Listed("bert", 384),
            "sentence-transformers/all-MiniLM-L12-v2": Listed("bert", 384),
            "sentence-transformers/all-mpnet-base-v2": Listed("mpnet", 768),
            "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2": Listed("bert", 384),
            "sentence-transformers/paraphrase-multilingual-mpnet-base-v2": Listed("xlm-roberta", 768),
            "sentence-transformers/static-retrieval-mrl-en-v1": Listed("static", 1024, (32, 64, 128, 256, 512)),
            "sentence-transformers/static-similarity-mrl-multilingual-v1": Listed(
                "static", 1024, (32, 64, 128, 256, 512)
            ),
        },
    ),
    KnownModels(
        pattern=r"gte-(small|base|large)",
        pooling=Pooling.MEAN,
        licence="mit",
        models={
            "thenlper/gte-small": Listed("bert", 384),
            "thenlper/gte-base": Listed("bert", 768),
            "thenlper/gte-large": Listed("bert", 1024),
        },
    ),
    KnownModels(
        pattern=r"bekko-embedding-v1-a(8|25)m",
        pooling=Pooling.MEAN,
        licence="mit",
        models={
            "hotchpotch/bekko-embedding-v1-a8m": Listed("modernbert", 384, (64, 128, 256)),
            "hotchpotch/bekko-embedding-v1-a25m": Listed("modernbert", 384, (64, 128, 256)),
        },
    ),
    KnownModels(
        pattern=r"jina-embeddings-v2-((small|base)-en|base-(de|es|zh))",
        pooling=Pooling.MEAN,
        licence="apache-2.0",
        models={
            "jinaai/jina-embeddings-v2-small-en": Listed("jina_bert", 512),
            "jinaai/jina-embeddings-v2-base-en": Listed("jina_bert", 768),
        },
    ),
    KnownModels(
        pattern=r"mxbai-embed-xsmall-v1",
        pooling=Pooling.MEAN,
        licence="apache-2.0",
        models={"mixedbread-ai/mxbai-embed-xsmall-v1": Listed("bert", 384)},
    ),
    KnownModels(
        pattern=r"potion-(base-[248]m|base-32m|retrieval-32m|multilingual-128m)",
        pooling=Pooling.MEAN,
        licence="mit",
        models={
            "minishlab/potion-base-8M": Listed("static", 256),
            "minishlab/potion-retrieval-32M": Listed("static", 512),
            "minishlab/potion-multilingual-128M": Listed("static", 256),
        },
    ),
    KnownModels(
        pattern=r"(multilingual-e5-(small|base|large)|e5-(small|base|large)(-v2|-unsupervised)?)",
        pooling=Pooling.MEAN,
        query_instruction="query: ",
        document_instruction="passage: ",
        licence="mit",
        models={
            "intfloat/e5-small-v2": Listed("bert", 384),
            "intfloat/e5-base-v2": Listed("bert", 768),
            "intfloat/e5-large-v2": Listed("bert", 1024),
            "intfloat/multilingual-e5-small": Listed("bert", 384),
            "intfloat/multilingual-e5-base": Listed("xlm-roberta", 768),
            "intfloat/multilingual-e5-large": Listed("xlm-roberta", 1024),
        },
    ),
    KnownModels(
        pattern=r"multilingual-e5-large-instruct",
        pooling=Pooling.MEAN,
        query_instruction=f"{_WEB_SEARCH} ",
        licence="mit",
        models={"intfloat/multilingual-e5-large-instruct": Listed("xlm-roberta", 1024)},
    ),
    KnownModels(
        pattern=r"(nomic-embed-text-v1(\.5)?|modernbert-embed-base)",
        pooling=Pooling.MEAN,
        query_instruction="search_query: ",
        document_instruction="search_document: ",
        licence="apache-2.0",
        models={
            "nomic-ai/nomic-embed-text-v1": Listed("nomic_bert", 768),
            "nomic-ai/nomic-embed-text-v1.5": Listed("nomic_bert", 768, (64, 128, 256, 512)),
            "nomic-ai/modernbert-embed-base": Listed("modernbert", 768, (256,)),
        },
    ),
    KnownModels(
        pattern=r"embeddinggemma-300m",
        pooling=Pooling.MEAN,
        query_instruction="task: search result | query: ",
        document_instruction="title: none | text: ",
        behind="two Dense modules",
        licence="gemma",
        models={"google/embeddinggemma-300m": Listed("gemma3_text", 768, (128, 256, 512))},
    ),
    KnownModels(
        pattern=r"ruri-v3-(30|70|130|310)m",
        pooling=Pooling.MEAN,
        query_instruction="検索クエリ: ",
        document_instruction="検索文書: ",
        licence="apache-2.0",
        models={
            "cl-nagoya/ruri-v3-30m": Listed("modernbert", 256),
            "cl-nagoya/ruri-v3-130m": Listed("modernbert", 512),
            "cl-nagoya/ruri-v3-310m": Listed("modernbert", 768),
        },
    ),
    KnownModels(
        pattern=r"mdbr-leaf-(ir|mt)",
        pooling=Pooling.MEAN,
        query_instruction=_SEARCH_PASSAGES,
        behind="a Dense module",
        licence="apache-2.0",
        models={
            "MongoDB/mdbr-leaf-ir": Listed("bert", 768),
            "MongoDB/mdbr-leaf-mt": Listed("bert", 1024),
        },
    ),
    KnownModels(
        pattern=r"labse",
        pooling=Pooling.CLS,
        behind="a Dense module",
        licence="apache-2.0",
        models={"sentence-transformers/LaBSE": Listed("bert", 768)},
    ),
    # https://huggingface.co/BAAI/bge-large-zh-noinstruct
    KnownModels(
        pattern=r"bge-(m3|(small|base|large)-(en|zh)-noinstruct)",
        pooling=Pooling.CLS,
        licence="mit",
        models={"BAAI/bge-m3": Listed("xlm-roberta", 1024)},
    ),
    KnownModels(
        pattern=r"gte-(multilingual-base|modernbert-base|(base|large)-en-v1\.5)",
        pooling=Pooling.CLS,
        licence="apache-2.0",
        models={
            "Alibaba-NLP/gte-multilingual-base": Listed("new", 768, (128, 256, 512)),
            "Alibaba-NLP/gte-base-en-v1.5": Listed("new", 768),
            "Alibaba-NLP/gte-large-en-v1.5": Listed("new", 1024),
            "Alibaba-NLP/gte-modernbert-base": Listed("modernbert", 768),
        },
    ),
    KnownModels(
        pattern=r"granite-embedding-((30|125)m-english|(107|278)m-multilingual|(small-)?english-r2"
        r"|(97|311)m-multilingual-r2)",
        pooling=Pooling.CLS,
        licence="apache-2.0",
        models={
            "ibm-granite/granite-embedding-30m-english": Listed("roberta", 384),
            "ibm-granite/granite-embedding-125m-english": Listed("roberta", 768),
            "ibm-granite/granite-embedding-107m-multilingual": Listed("xlm-roberta", 384),
            "ibm-granite/granite-embedding-278m-multilingual": Listed("xlm-roberta", 768),
            "ibm-granite/granite-embedding-small-english-r2": Listed("modernbert", 384),
            "ibm-granite/granite-embedding-english-r2": Listed("modernbert", 768),
            "ibm-granite/granite-embedding-97m-multilingual-r2": Listed("modernbert", 384),
            "ibm-granite/granite-embedding-311m-multilingual-r2": Listed("modernbert", 768, (128, 256, 384, 512)),
        },
    ),
    KnownModels(
        pattern=r"bge-(small|base|large)-en(-v1\.5)?",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="mit",
        models={
            "BAAI/bge-small-en-v1.5": Listed("bert", 384),
            "BAAI/bge-base-en-v1.5": Listed("bert", 768),
            "BAAI/bge-large-en-v1.5": Listed("bert", 1024),
        },
    ),
    KnownModels(
        pattern=r"snowflake-arctic-embed-(xs|s|m|l|m-long|m-v1\.5)",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="apache-2.0",
        models={
            "Snowflake/snowflake-arctic-embed-xs": Listed("bert", 384),
            "Snowflake/snowflake-arctic-embed-s": Listed("bert", 384),
            "Snowflake/snowflake-arctic-embed-m": Listed("bert", 768),
            "Snowflake/snowflake-arctic-embed-m-v1.5": Listed("bert", 768, (256,)),
            "Snowflake/snowflake-arctic-embed-m-long": Listed("nomic_bert", 768),
            "Snowflake/snowflake-arctic-embed-l": Listed("bert", 1024),
        },
    ),
    KnownModels(
        pattern=r"mxbai-embed-(2d-)?large-v1",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="apache-2.0",
        models={"mixedbread-ai/mxbai-embed-large-v1": Listed("bert", 1024, (512,))},
    ),
    KnownModels(
        pattern=r"uae-large-v1",
        pooling=Pooling.CLS,
        query_instruction=_SEARCH_PASSAGES,
        licence="mit",
        models={"WhereIsAI/UAE-Large-V1": Listed("bert", 1024)},
    ),
    KnownModels(
        pattern=r"bge-(small|base|large)-zh(-v1\.5)?",
        pooling=Pooling.CLS,
        query_instruction="为这个句子生成表示以用于检索相关文章：",
        licence="mit",
        models={
            "BAAI/bge-small-zh-v1.5": Listed("bert", 512),
            "BAAI/bge-base-zh-v1.5": Listed("bert", 768),
            "BAAI/bge-large-zh-v1.5": Listed("bert", 1024),
        },
    ),
    KnownModels(
        pattern=r"snowflake-arctic-embed-[ml]-v2\.0",
        pooling=Pooling.CLS,
        query_instruction="query: ",
        licence="apache-2.0",
        models={
            "Snowflake/snowflake-arctic-embed-m-v2.0": Listed("gte", 768, (256,)),
            "Snowflake/snowflake-arctic-embed-l-v2.0": Listed("xlm-roberta", 1024, (256,)),
        },
    ),
    KnownModels(
        pattern=r"m?denseon",
        pooling=Pooling.CLS,
        query_instruction="query: ",
        document_instruction="document: ",
        licence="apache-2.0",
        models={
            "lightonai/DenseOn": Listed("modernbert", 768),
            "lightonai/mDenseOn": Listed("modernbert", 768),
        },
    ),
    KnownModels(
        pattern=r"qwen3-embedding-0\.6b",
        pooling=Pooling.LAST,
        query_instruction=_WEB_SEARCH,
        licence="apache-2.0",
        models={"Qwen/Qwen3-Embedding-0.6B": Listed("qwen3", 1024, (32, 64, 128, 256, 512))},
    ),
    KnownModels(
        pattern=r"harrier-oss-v1-(270m|0\.6b)",
        pooling=Pooling.LAST,
        query_instruction=f"{_WEB_SEARCH} ",
        licence="mit",
        models={
            "microsoft/harrier-oss-v1-270m": Listed("gemma3_text", 640),
            "microsoft/harrier-oss-v1-0.6b": Listed("qwen3", 1024),
        },
    ),
    KnownModels(
        pattern=r"f2llm-v2-(80|160|330)m",
        pooling=Pooling.LAST,
        query_instruction=_QUESTION,
        licence="apache-2.0",
        models={
            "codefuse-ai/F2LLM-v2-80M": Listed("qwen3", 320),
            "codefuse-ai/F2LLM-v2-160M": Listed("qwen3", 640),
            "codefuse-ai/F2LLM-v2-330M": Listed("qwen3", 896),
        },
    ),
    KnownModels(
        pattern=r"jina-embeddings-v5-text-(nano|small)-retrieval",
        pooling=Pooling.LAST,
        query_instruction="Query: ",
        document_instruction="Document: ",
        licence="cc-by-nc-4.0",
        models={
            "jinaai/jina-embeddings-v5-text-nano-retrieval": Listed("eurobert", 768, (32, 64, 128, 256, 512)),
            "jinaai/jina-embeddings-v5-text-small-retrieval": Listed("qwen3", 1024, (32, 64, 128, 256, 512, 768)),
        },
    ),
)
