"""Readers of sentence-transformers' modules behind the Transformer: pooling, and the chain that follows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.architectures import (
    EncoderConfig,
    Ending,
    UnitLength,
    load_next_token,
)
from intel_quantized_embeddings.architectures.tensors import safetensors_files
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.models.ending_modules import (
    SCORES,
    dense_in_words,
    in_words,
    load_dense,
    load_step,
    read_dense,
    refuse_other_normalize,
)
from intel_quantized_embeddings.models.modules import read_modules, refuse_other_pipelines, refuse_unknown_keys
from intel_quantized_embeddings.models.poolings import read_poolings
from intel_quantized_embeddings.options import Pooling

if TYPE_CHECKING:
    from intel_quantized_embeddings.models.settings import ModelSettings

# Modules that have weights of their own, in `model.safetensors` of their folder.
WITH_WEIGHTS = ("Dense", "LayerNorm")

_LOGITS = "causal_logits"


def behind_pooling(modules: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Return the modules that a pooled row goes through; Dropout does nothing to it.

    Without a Pooling module, pooling comes before all modules. A module before the Pooling has no row to work on, and
    does nothing.
    """
    kinds = [kind for kind, _ in modules]
    first = kinds.index("Pooling") + 1 if "Pooling" in kinds else 1
    return [(kind, where) for kind, where in modules[first:] if kind != "Dropout"]


def read_chain(modules: list[tuple[str, Path]]) -> tuple[tuple[str, ...], bool]:
    """Describe the chain behind pooling in words, but for a last scaling to length 1; return whether there is one, too.

    A folder without a pipeline gives unit vectors.
    """
    for kind, where in modules:
        if kind == "Normalize":
            refuse_other_normalize(where / "config.json")
    chain = behind_pooling(modules)
    normalize = not modules or (bool(chain) and chain[-1][0] == "Normalize")
    return tuple(in_words(kind, where) for kind, where in _without_last_normalize(chain)), normalize


def chain_width(folder: Path, hidden: int) -> int:
    """Return the size of a folder's vectors, by its own pooling, from the size of a token's vector."""
    modules = read_modules(folder)
    widths = [read_dense(where).gives for kind, where in behind_pooling(modules) if kind == "Dense"]
    if widths:
        return widths[-1]
    pooling = next((where for kind, where in modules if kind == "Pooling"), None)
    return hidden * (1 if pooling is None else len(read_poolings(pooling / "config.json")))


def load_ending(folder: Path, settings: ModelSettings) -> Ending:
    """Read the part behind an embedder's layers, with its weights; pooling and normalization come from the settings."""
    chain = _without_last_normalize(behind_pooling(read_modules(folder)))
    steps = [load_step(kind, where) for kind, where in chain]
    return Ending(poolings=settings.poolings, steps=(*steps, *([UnitLength()] if settings.normalize else [])))


def scoring_chain(folder: Path) -> list[tuple[str, Path]]:
    """Return the modules of a cross-encoder that is a chain of modules.

    They are Transformer, Pooling, and modules that make a score of the row; or Transformer and LogitScore. The list is
    empty if its head is the classifier of its architecture.

    Raises:
        UnsupportedModelError: There is a module that is not built in.
        DamagedFilesError: The list can't be read.
    """
    own = read_json(folder / "config_sentence_transformers.json").get("model_type")
    modules = read_modules(folder) if own == "CrossEncoder" else []
    return modules if any(kind in ("Pooling", "LogitScore") for kind, _ in modules) else []


def scores_next_token(folder: Path) -> bool:
    """Return whether a cross-encoder scores by the next token: it has a LogitScore."""
    return any(kind == "LogitScore" for kind, _ in scoring_chain(folder))


def scoring_words(folder: Path) -> tuple[str, ...]:
    """Describe the steps of `scoring_chain` in words, pooling first; empty if there are none.

    Modules that do not give one score are an UnsupportedModelError.
    """
    modules = scoring_chain(folder)
    if not modules:
        return ()
    if scores_next_token(folder):
        wanted, other = _next_tokens(folder, modules)
        return (f"LogitScore {wanted}" if other is None else f"LogitScore {wanted} less {other}",)
    refuse_other_pipelines(folder, modules)
    chain, path = behind_pooling(modules), folder / "modules.json"
    if not chain or chain[-1][0] != "Dense":
        raise UnsupportedModelError(f"{path} ends in {modules[-1][0]}; a cross-encoder's chain ends in a Dense.")
    last = chain[-1][1]
    if (labels := read_dense(last, output=SCORES).gives) != 1:
        raise UnsupportedModelError(
            f"{last / 'config.json'} gives {labels} scores for a pair of texts; a cross-encoder that ranks gives one."
        )
    pooling = _scoring_pooling(modules)
    words = [in_words(kind, where) for kind, where in chain[:-1]]
    return (f"{pooling.value} pooling", *words, dense_in_words(read_dense(last, output=SCORES)))


def load_scoring_chain(folder: Path, encoder: EncoderConfig, described: dict[str, Any], *, name: str) -> Ending:
    """Read a cross-encoder's chain with its weights; raises the errors of `load_ending` and `scoring_words`.

    Args:
        folder: The model's folder.
        encoder: The encoder's sizes.
        described: The content of its `config.json`.
        name: The model's name in errors.
    """
    modules = scoring_chain(folder)
    if scores_next_token(folder):
        return load_next_token(folder, encoder, described, _next_tokens(folder, modules), name=name)
    *chain, (_, last) = behind_pooling(modules)
    steps = [*(load_step(kind, where) for kind, where in chain), load_dense(last, read_dense(last, output=SCORES))]
    ending = Ending(poolings=(_scoring_pooling(modules),), steps=tuple(steps))
    ending.widths(encoder.output_size, where=str(folder))
    return ending


def module_weights(folder: Path) -> tuple[Path, ...]:
    """Return the existing files with weights of a folder's modules, without the Transformer's."""
    return tuple(
        file for kind, where in read_modules(folder) if kind in WITH_WEIGHTS for file in safetensors_files(where)
    )


def _scoring_pooling(modules: list[tuple[str, Path]]) -> Pooling:
    path = next(where for kind, where in modules if kind == "Pooling") / "config.json"
    poolings = read_poolings(path)
    if len(poolings) > 1:
        raise UnsupportedModelError(f"{path} has several poolings; a cross-encoder has one.")
    return poolings[0]


def _next_tokens(folder: Path, modules: list[tuple[str, Path]]) -> tuple[int, int | None]:
    """Read the two ids of a LogitScore: the token whose logit counts, and the token whose logit is subtracted."""
    kinds = [kind for kind, _ in modules]
    if kinds != ["Transformer", "LogitScore"] or modules[0][1].resolve() != folder.resolve():
        raise UnsupportedModelError(
            f"{folder / 'modules.json'} runs {', '.join(kinds)}; a LogitScore is built in behind a Transformer alone, "
            f"which lies in the folder itself."
        )
    path = modules[1][1] / "config.json"
    config = read_json(path)
    refuse_unknown_keys(config, ("true_token_id", "false_token_id", "module_input_name"), path)
    if (read := config.get("module_input_name", _LOGITS)) != _LOGITS:
        raise UnsupportedModelError(f"{path} has module_input_name={read!r}; only {_LOGITS!r} is built in here.")
    wanted, other = _token_id(config, "true_token_id", path), _token_id(config, "false_token_id", path)
    if wanted is None:
        raise DamagedFilesError(f"{path} has no true_token_id, the id of the token that the score is of.")
    return wanted, other


def _token_id(config: dict[str, Any], key: str, path: Path) -> int | None:
    value = config.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise DamagedFilesError(f"{path} has {key}={value!r}; the id of a token is needed.")
    return value


def _without_last_normalize(chain: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Drop a Normalize at the end: scaling to length 1 twice is scaling once."""
    while chain and chain[-1][0] == "Normalize":
        chain = chain[:-1]
    return chain
