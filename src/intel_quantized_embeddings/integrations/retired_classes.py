"""The retired classes: their arguments and defaults, and the successor of each argument.

As of langchain-community 0.4.2, llama-index-embeddings-huggingface-optimum-intel 0.6.0 and
llama-index-embeddings-openvino 0.8.0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.integrations.retired import Argument, RetiredClass

# langchain-community's sentence; BGE's model cards say "this sentence".
_BGE_QUERY = "Represent this question for searching relevant passages: "
_BGE_QUERY_ZH = "为这个句子生成表示以用于检索相关文章："

_NO_INSTRUCTIONS = {"query_instruction": "", "document_instruction": ""}

_NO_EFFECT = Argument()  # on vectors; batches are planned by length
_OBJECT = Argument(
    allowed=(), instead="A loaded object can't be taken over: pass the folder or hub id that it was loaded from."
)
_CPU = Argument(allowed=("cpu", "auto"), instead="This package runs on CPUs only: leave it out.")
_TOKEN = Argument(allowed=(), instead="Set HF_TOKEN in the environment, or log in with `hf auth login`.")

# Keys of these that from_pretrained took.
_MODEL_KWARGS = {
    "model_kwargs.revision": Argument(option="revision"),
    "model_kwargs.cache_dir": Argument(option="cache_folder"),
    "model_kwargs.local_files_only": Argument(option="local_files_only"),
    "model_kwargs.token": _TOKEN,
    "model_kwargs.use_auth_token": _TOKEN,
    "model_kwargs.trust_remote_code": Argument(
        allowed=(False,), instead="No code that comes with a model is run here: leave it out."
    ),
    "model_kwargs.device": _CPU,
    "model_kwargs.ov_config": Argument(
        allowed=(), instead="Of OpenVINO's settings, num_threads= and precision= can be chosen: pass those."
    ),
}


def _mean_or_cls(mean_pooling: Any) -> str:
    return "mean" if mean_pooling else "cls"


def _with_a_space(instruction: Any) -> Any:
    """Append a space to an instruction, as LlamaIndex's classes did."""
    if not isinstance(instruction, str) or not instruction or instruction[-1].isspace():
        return instruction
    return f"{instruction} "


def _chinese_query(model: str) -> Mapping[str, Any]:
    return {"query_instruction": _BGE_QUERY_ZH} if "-zh" in model else {}


QUANTIZED_BI_ENCODER_EMBEDDINGS = RetiredClass(
    name="QuantizedBiEncoderEmbeddings",
    successor="IntelQuantizedEmbeddings",
    model_option="model",
    defaults={"runtime": "ipex", "pooling": "mean", "normalize": False, "max_length": 512, **_NO_INSTRUCTIONS},
    arguments={
        "model_name": Argument(option="model"),
        "max_seq_len": Argument(option="max_length"),
        "pooling_strategy": Argument(option="pooling"),
        "query_instruction": Argument(option="query_instruction"),
        "document_instruction": Argument(option="document_instruction"),
        "padding": _NO_EFFECT,
        **_MODEL_KWARGS,
        "encode_kwargs.normalize_embeddings": Argument(option="normalize", convert=bool),
        "encode_kwargs.batch_size": _NO_EFFECT,
    },
    in_order=8,
)

_CLS_DEFAULTS = {"pooling": "cls", "normalize": True, **_NO_INSTRUCTIONS}

OPENVINO_EMBEDDINGS = RetiredClass(
    name="OpenVINOEmbeddings",
    successor="IntelQuantizedEmbeddings",
    model_option="model",
    defaults={"precision": "fp32", **_CLS_DEFAULTS},
    arguments={
        "model_name_or_path": Argument(option="model"),
        "ov_model": _OBJECT,
        "tokenizer": _OBJECT,
        **_MODEL_KWARGS,
        "encode_kwargs.mean_pooling": Argument(option="pooling", convert=_mean_or_cls),
        "encode_kwargs.normalize_embeddings": Argument(option="normalize", convert=bool),
        "encode_kwargs.show_progress_bar": Argument(option="show_progress", convert=bool),
        "encode_kwargs.batch_size": _NO_EFFECT,
        "encode_kwargs.convert_to_numpy": _NO_EFFECT,
        "encode_kwargs.convert_to_tensor": _NO_EFFECT,
        "show_progress": Argument(option="show_progress"),
    },
)

OPENVINO_BGE_EMBEDDINGS = RetiredClass(
    name="OpenVINOBgeEmbeddings",
    successor="IntelQuantizedEmbeddings",
    model_option="model",
    defaults={"precision": "fp32", **_CLS_DEFAULTS, "query_instruction": _BGE_QUERY},
    arguments={
        **OPENVINO_EMBEDDINGS.arguments,
        "query_instruction": Argument(option="query_instruction"),
        "embed_instruction": Argument(option="document_instruction"),
    },
    forced=_chinese_query,
)

# The arguments after the model, in the same order in both.
_LLAMA_INDEX_ARGUMENTS = {
    "pooling": Argument(option="pooling"),
    "max_length": Argument(option="max_length"),
    "normalize": Argument(option="normalize"),
    "query_instruction": Argument(option="query_instruction", convert=_with_a_space),
    "text_instruction": Argument(option="document_instruction", convert=_with_a_space),
}

INTEL_EMBEDDING = RetiredClass(
    name="IntelEmbedding",
    successor="IntelQuantizedEmbedding",
    model_option="model_name",
    defaults={"runtime": "ipex", **_CLS_DEFAULTS},
    arguments={
        "folder_name": Argument(option="model_name"),
        **_LLAMA_INDEX_ARGUMENTS,
        "cache_folder": Argument(option="cache_folder"),
        "model": _OBJECT,
        "tokenizer": _OBJECT,
        "embed_batch_size": Argument(option="embed_batch_size"),
        "callback_manager": Argument(option="callback_manager"),
        "device": _CPU,
    },
    in_order=12,
)

OPENVINO_EMBEDDING = RetiredClass(
    name="OpenVINOEmbedding",
    successor="IntelQuantizedEmbedding",
    model_option="model_name",
    defaults={"model_name": "BAAI/bge-m3", "precision": "fp32", **_CLS_DEFAULTS},
    arguments={
        "model_id_or_path": Argument(option="model_name"),
        **_LLAMA_INDEX_ARGUMENTS,
        "model": _OBJECT,
        "tokenizer": _OBJECT,
        "embed_batch_size": Argument(option="embed_batch_size"),
        "callback_manager": Argument(option="callback_manager"),
        **_MODEL_KWARGS,
        "device": _CPU,
    },
    in_order=12,
)

RETIRED_CLASSES = (
    QUANTIZED_BI_ENCODER_EMBEDDINGS,
    OPENVINO_EMBEDDINGS,
    OPENVINO_BGE_EMBEDDINGS,
    INTEL_EMBEDDING,
    OPENVINO_EMBEDDING,
)


def raise_renamed(name: str, *, successors: Collection[str]) -> None:
    """Refuse an argument of the classes that `successors` replace by naming its successor; ignore any other name.

    Raises:
        OptionError: It is such an argument.
    """
    became = {
        argument.option or ""
        for retired in RETIRED_CLASSES
        for known, argument in retired.arguments.items()
        if retired.successor in successors and known.partition(".")[0] == name
    }
    if became:
        today = ", ".join(f"{option}=" for option in sorted(became - {""}))
        raise OptionError(
            f"{name}= is an argument of a class that is retired. Here {f'it is {today}' if today else 'leave it out'}; "
            f"docs/migrating.md has the old classes under their old names."
        )
