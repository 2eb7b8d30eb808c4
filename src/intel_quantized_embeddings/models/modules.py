"""Readers of sentence-transformers' `modules.json` and of the configuration of every module in it.

Unknown keys in these files are refused, because they may change vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.files.json_files import parse_json, read_json
from intel_quantized_embeddings.models.routes import CONFIG_FILE, route_modules

HANDLED_MODULES = (
    "Transformer",
    "Pooling",
    "Dense",
    "LayerNorm",
    "Normalize",
    "Dropout",
    "StaticEmbedding",
    "LogitScore",
    "MLMTransformer",
    "SpladePooling",
    "SparseStaticEmbedding",
)

# Only classes under this package are sentence-transformers'; any other is the repository's own code.
_THEIR_PACKAGE = "sentence_transformers."

_MODULE_KEYS = ("type", "path", "name", "idx", "kwargs")

# In the order in which sentence-transformers looks for them: the first that is not empty counts.
_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{family}_config.json"
    for family in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

# Values that a Transformer module must have, by the kind of its model.
_TASKS = {
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
    "text-generation": ("logits", "causal_logits"),
    "fill-mask": ("logits", "token_embeddings"),
}
# Forms of a message's content, if pairs go through a chat template.
_FORMATS = ("flat", "structured")
# Arguments of loading that change where and how torch computes, and vectors only by rounding.
_HARMLESS_ARGUMENTS = frozenset(
    {
        "add_pooling_layer",
        "attn_implementation",
        "device_map",
        "dtype",
        "low_cpu_mem_usage",
        "torch_dtype",
        "trust_remote_code",
        "use_cache",
        "use_fast",
        "use_safetensors",
    }
)
_ARGUMENTS = ("model_args", "model_kwargs", "config_args", "config_kwargs", "tokenizer_args", "processor_kwargs")
_TOKENIZER_ARGUMENTS = ("tokenizer_args", "processor_kwargs")
_REFUSED_UNLESS_NULL = ("query_length", "document_length", "query_expansion", "tokenizer_name_or_path")
_TRANSFORMER_KEYS = (
    "max_seq_length",
    "do_lower_case",
    "transformer_task",
    "modality_config",
    "module_output_name",
    "processing_kwargs",
    "unpad_inputs",
    *_ARGUMENTS,
    *_REFUSED_UNLESS_NULL,
)


def read_modules(folder: Path) -> list[tuple[str, Path]]:
    """Read the pipeline of `modules.json`, or of a Router's route, as (class name, folder); empty without either.

    Of a class in sentence-transformers' package only the last name is kept: version 6 moved the classes to other Python
    modules. A module that is not built in is an UnsupportedModelError.
    """
    path = folder / "modules.json"
    routed = route_modules(folder)
    if routed is not None or not path.is_file():
        router = folder if path.is_file() else folder.parent
        return [(_kind(type_, router / CONFIG_FILE), where) for type_, where in routed or []]
    modules = []
    for listed in _listed(path):
        kind = _kind(str(listed["type"]), path)
        refuse_unknown_keys(listed, _MODULE_KEYS, path)
        kwargs = listed.get("kwargs") or []
        if not isinstance(kwargs, list) or not all(isinstance(name, str) for name in kwargs):
            raise DamagedFilesError(f"{path}: kwargs of the {kind} module is {kwargs!r}; a list of names is expected.")
        modules.append((kind, path_inside(folder, str(listed.get("path", "")), listed_in=path)))
    return modules


def _listed(path: Path) -> list[dict[str, Any]]:
    parsed = parse_json(path)
    if not isinstance(parsed, list) or not all(isinstance(module, dict) and "type" in module for module in parsed):
        raise DamagedFilesError(f"{path} is not a list of modules with a type and a path.")
    names = Counter(str(module["name"]) for module in parsed if "name" in module)
    if twice := [name for name, times in names.items() if times > 1]:
        raise DamagedFilesError(f"{path} gives two modules the name {twice[0]!r}: the later would replace the earlier.")
    return parsed


def _kind(type_: str, path: Path) -> str:
    kind = type_.rsplit(".", 1)[-1]
    if not type_.startswith(_THEIR_PACKAGE):
        raise UnsupportedModelError(
            f"{path} has a module of the type {type_!r}, a class outside sentence-transformers' package: code that "
            f"comes with the model and is not run here. Taking it for the built-in {kind} would give other vectors "
            f"than the model's own, so this model can't be run here."
        )
    if kind in ("Router", "Asym"):
        raise UnsupportedModelError(
            f"{path} has a {kind} module in a place or a form that is not built in: it must be the first, and have "
            f"{CONFIG_FILE} beside it, as sentence-transformers 6 writes it. What it routes to are two models that "
            f"share a space, each with a repository of its own as a rule: load the two apart, encode queries with one "
            f"and documents with the other."
        )
    if kind not in HANDLED_MODULES:
        raise UnsupportedModelError(
            f"{path} has a {kind} module; built in are {', '.join(HANDLED_MODULES)}. "
            f"Leaving it out would give other vectors than the model's own, so this model can't be run here."
        )
    return kind


def refuse_other_pipelines(folder: Path, modules: list[tuple[str, Path]]) -> None:
    """Check that the modules are one Transformer, in the folder itself, then at most one Pooling, then a chain."""
    if not modules:
        return
    path = folder / "modules.json"
    kinds = [kind for kind, _ in modules]
    if {"MLMTransformer", "SpladePooling", "SparseStaticEmbedding"} & set(kinds):
        raise UnsupportedModelError(
            f"{path} runs {', '.join(kinds)}: this is a sparse model, whose vectors have a number for each token of "
            f"the vocabulary. Load it with SparseEncoder.load."
        )
    before = kinds[: kinds.index("Pooling")] if "Pooling" in kinds else kinds
    chained = [kind for kind in before if kind in ("Dense", "LayerNorm")]
    alone = (
        kinds.count("Transformer") == 1
        and kinds.count("Pooling") <= 1
        and not {"StaticEmbedding", "LogitScore"} & set(kinds)
    )
    if kinds[0] != "Transformer" or not alone or chained:
        raise UnsupportedModelError(
            f"{path} runs {', '.join(kinds)}, in this order; built in are a Transformer, then one Pooling, then any of "
            f"Dense, LayerNorm, Normalize and Dropout; or a StaticEmbedding, then Normalize."
        )
    if modules[0][1].resolve() != folder.resolve():
        raise UnsupportedModelError(
            f"{path} keeps the Transformer module in {modules[0][1]}; its files are read from the model's folder "
            f'itself. Move them there and write "path": "" for the module.'
        )


def read_transformer_config(
    transformer: Path, *, task: str, chats: bool = False, takes_more: bool = False
) -> dict[str, Any]:
    """Read `sentence_bert_config.json`, which also exists under the names of other architectures.

    Args:
        transformer: The module's folder.
        task: The value of `transformer_task` that the model must have.
        chats: Whether it may ask for a chat template.
        takes_more: Whether the model takes images or sounds too, which are left out. Its texts may be messages: then
            the caller looks at the template.

    Raises:
        UnsupportedModelError: A value is not built in.
        DamagedFilesError: The file is not a JSON object.
    """
    for name in _TRANSFORMER_CONFIGS:
        path = transformer / name
        config = read_json(path)
        if config:
            refuse_unknown_keys(config, _TRANSFORMER_KEYS, path)
            _refuse_other_inputs(config, path, task=task, chats=chats, takes_more=takes_more)
            _refuse_arguments(config, path)
            return config
    return {}


def _refuse_other_inputs(config: dict[str, Any], path: Path, *, task: str, chats: bool, takes_more: bool) -> None:
    output, feature = _TASKS[task]
    text = {"method": "forward", "method_output_name": output}
    modalities = {"text": text}
    allowed = {"transformer_task": task, "modality_config": modalities, "module_output_name": feature}
    asked = config.get("modality_config")
    as_messages = [modalities | {"message": {**text, "format": name}} for name in _FORMATS]
    if takes_more and isinstance(asked, dict):
        of_texts = {name: asked[name] for name in ("text", "message") if name in asked}
        if of_texts in (modalities, *as_messages):
            allowed["modality_config"] = asked
    elif chats and asked in as_messages:
        allowed["modality_config"] = asked
    for key, value in allowed.items():
        if key in config and config[key] != value:
            raise UnsupportedModelError(f"{path} has {key}={config[key]!r}; only {value!r} is built in for this model.")
    for key in _REFUSED_UNLESS_NULL:
        if config.get(key) is not None:
            raise UnsupportedModelError(f"{path} has {key}={config[key]!r}, which is not built in.")
    processing = config.get("processing_kwargs") or {}
    if processing and (not isinstance(processing, dict) or any(processing.values())):
        raise UnsupportedModelError(
            f"{path} has processing_kwargs={processing!r}: arguments of the tokenizer's call, which are not built in."
        )


def _refuse_arguments(config: dict[str, Any], path: Path) -> None:
    for key in _ARGUMENTS:
        arguments = config.get(key) or {}
        if not isinstance(arguments, dict):
            raise DamagedFilesError(f"{path}: {key} is {arguments!r}; a table of arguments is expected.")
        for name, value in arguments.items():
            obeyed = name == "model_max_length" and key in _TOKENIZER_ARGUMENTS
            if name not in _HARMLESS_ARGUMENTS and not obeyed:
                raise UnsupportedModelError(
                    f"{path} has {name}={value!r} in {key}: an argument of loading the model, which is not built in."
                )


def longest_input(config: dict[str, Any]) -> object:
    """Return the longest input by a Transformer module's configuration, None if it has none."""
    for key in _TOKENIZER_ARGUMENTS:
        if (value := (config.get(key) or {}).get("model_max_length")) is not None:
            return value
    return config.get("max_seq_length")


def refuse_unknown_keys(config: dict[str, Any], known: Collection[str], path: Path) -> None:
    """Check that a file has only known keys."""
    if unknown := sorted(set(config) - set(known)):
        raise UnsupportedModelError(
            f"{path} has {unknown[0]}={config[unknown[0]]!r}, a key that is not known here and may change vectors. "
            f"Known are {', '.join(known)}."
        )
