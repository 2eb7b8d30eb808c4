"""SetFit's folder, or its model in memory -> the body's folder, the head, and SetFit's configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError, needs
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.integrations.setfit_folder import is_plain
from intel_quantized_embeddings.models.prompts import read_prompts

_PICKLED_HEAD = "model_head.pkl"
_SETFIT_CONFIG = "config_setfit.json"


def read_setfit_folder(folder: Path, *, allow_pickle: bool) -> tuple[Path, Any, dict[str, Any]]:
    """Return the body's folder, the head, and the configuration of a folder that SetFit wrote.

    Raises:
        ModelFilesError: It is not such a folder.
        OptionError: The head is a pickle and that was not allowed.
        MissingExtraError: joblib is not installed.
        DamagedFilesError: The head or the configuration can't be read.
    """
    if not (folder / _PICKLED_HEAD).is_file():
        raise ModelFilesError(
            f"{folder} has no {_PICKLED_HEAD}: it is not a folder that SetFit's save_pretrained wrote. For a model on "
            f"the hub pass SetFitModel.from_pretrained(...)."
        )
    if not allow_pickle:
        raise OptionError(
            f"{folder / _PICKLED_HEAD} is a pickle, which is code that would run here. If you trust who made it, pass "
            f"allow_pickle=True, or the loaded model: quantize_setfit(SetFitModel.from_pretrained(...), ...)."
        )
    with needs("joblib", extra="setfit", needed_for="Reading a SetFit head"):
        import joblib
    config = read_json(folder / _SETFIT_CONFIG)
    if not isinstance(config.get("labels"), (list, type(None))):
        raise DamagedFilesError(
            f"{folder / _SETFIT_CONFIG}: labels is {config['labels']!r}; a list of names or null is expected."
        )
    try:
        head = joblib.load(folder / _PICKLED_HEAD)
    except Exception as exc:  # a pickle can raise anything
        raise DamagedFilesError(f"{folder / _PICKLED_HEAD} can't be read: {type(exc).__name__}: {exc}") from exc
    return folder, head, configuration(config.get("labels"), config.get("normalize_embeddings"))


def save_body(model: Any, temporary: Path) -> tuple[Path, Any, dict[str, Any]]:
    """Do the same for a model in memory, writing its body to a folder in a temporary one.

    Raises:
        OptionError: It is not a model of SetFit's.
    """
    if not (hasattr(model, "model_body") and hasattr(model, "model_head")):
        raise OptionError(
            f"model is a {type(model).__name__}; a SetFitModel or a folder that its save_pretrained wrote is expected."
        )
    folder = temporary / _source_name(model)
    model.model_body.save_pretrained(str(folder), create_model_card=False)
    labels, normalize = getattr(model, "labels", None), getattr(model, "normalize_embeddings", False)
    return folder, model.model_head, configuration(labels, normalize)


def _source_name(model: Any) -> str:
    """Return a model's name for its body's manifest: its own, or that of the model it was trained from."""
    card = getattr(model, "model_card_data", None)
    own, trained_from = getattr(card, "model_id", None), getattr(card, "st_id", None)
    name = Path(own).name if own else f"setfit-{Path(trained_from).name}" if trained_from else "setfit-model"
    return re.sub(r"[^\w.-]", "-", name)


def configuration(labels: Any, normalize_embeddings: Any) -> dict[str, Any]:
    """Return the content of SetFit's `config_setfit.json`, in types that JSON has."""
    return {
        "labels": None if labels is None or not len(labels) else [_plain(label) for label in labels],
        "normalize_embeddings": bool(normalize_embeddings),
    }


def _plain(label: Any) -> Any:
    """Return a label in JSON's types: NumPy's strings and numbers become Python's, anything else its text."""
    label = label.item() if hasattr(label, "item") else label
    return label if is_plain(label) else str(label)


def own_prompt(body: Path) -> str:
    """Return the prompt that sentence-transformers puts before texts by default.

    Raises:
        DamagedFilesError: The folder's prompts are not a table of texts.
    """
    prompts, default = read_prompts(body / "config_sentence_transformers.json")
    return "" if default is None else prompts[default]
