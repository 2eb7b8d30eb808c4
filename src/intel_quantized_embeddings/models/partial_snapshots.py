"""Find files that decide a model's settings and are missing from a folder though the model may have them.

Libraries fill the hub's cache with only the files that they need. Other files that this package reads are then missing,
as if the model did not have them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

from intel_quantized_embeddings.errors import ModelFilesError

logger = logging.getLogger(__name__)

_MODULES = "modules.json"
_SENTENCE = "sentence_bert_config.json"

# By file, the options that together say the same.
_DECIDED_BY = {
    _MODULES: ("pooling", "normalize"),
    "config_sentence_transformers.json": ("query_instruction", "document_instruction"),
    _SENTENCE: ("max_length",),
    "tokenizer_config.json": (),
}

# The options of `Encoder.load` that are settings of the model.
SETTINGS = tuple(option for options in _DECIDED_BY.values() for option in options)


def never_fetched(folder: Path, *, scores_pairs: bool) -> list[str]:
    """List the files that decide settings, are not in a folder of the hub's client, and may be in the repository.

    A file is not in the repository if the client's list of it (`trees`, written by version 2) or its note of having
    asked (`.no_exist`) says so, or if all of the repository is there. Other folders are taken as complete. A
    cross-encoder's settings are its tokenizer's.
    """
    folder = folder.resolve()  # a link to a snapshot is one
    if (folder / ".gitattributes").exists() or not (_is_snapshot(folder) or _is_download(folder)):
        return []
    listed = _listed(folder)
    wanted = ["tokenizer_config.json"] if scores_pairs else list(_deciding(folder, listed))
    return [name for name in wanted if not (folder / name).is_file() and not _known_absent(folder, name, listed)]


def undecided(names: Collection[str], *, given: Collection[str]) -> list[str]:
    """Return the files that decide something that the caller did not decide."""
    return [name for name in names if not _DECIDED_BY[name] or not set(_DECIDED_BY[name]) <= set(given)]


def refuse_undecided(names: Collection[str], *, model: str, folder: Path, by_path: bool) -> None:
    """Report files that were never fetched: as an error for a hub id, in the log for a folder given by its path."""
    if not names:
        return
    listed = ", ".join(names)
    missing = (
        f"{folder} holds a part of {model} only: {listed} {'was' if len(names) == 1 else 'were'} never fetched. If the "
        f"model has {'it' if len(names) == 1 else 'them'}, pooling, instructions, length or tokens are other than here"
    )
    if by_path:
        logger.warning("%s. Load the model once by its hub id with the hub reachable, or fetch all of it", missing)
        return
    raise ModelFilesError(
        f"{missing}. Load the model once with the hub reachable, fetch all of it with `hf download {model}`, pass what "
        f"they would say ({', '.join(SETTINGS)}), or pass the folder itself if it is all there is."
    )


def _deciding(folder: Path, listed: set[str] | None) -> Iterator[str]:
    yield "tokenizer_config.json"
    yield _MODULES
    if not (folder / _MODULES).is_file() and _known_absent(folder, _MODULES, listed):
        return  # then the others are not read
    yield "config_sentence_transformers.json"
    # Its other names, of other architectures, are tried after this one.
    if not any(folder.glob("sentence_*config.json")) and not any(folder.glob("[0-9]_*/sentence_*config.json")):
        yield _SENTENCE


def _known_absent(folder: Path, name: str, listed: set[str] | None) -> bool:
    if listed is not None:
        return name not in listed
    return (folder.parent.parent / ".no_exist" / folder.name / name).is_file() and _is_snapshot(folder)


def _is_snapshot(folder: Path) -> bool:
    """Return whether a folder is in the hub's cache: models--OWNER--NAME/snapshots/COMMIT."""
    folder = folder.absolute()
    return folder.parent.name == "snapshots" and "--" in folder.parent.parent.name


def _is_download(folder: Path) -> bool:
    """Return whether `hf download --local-dir` wrote a folder."""
    return (folder / ".cache" / "huggingface" / "download").is_dir()


def _listed(folder: Path) -> set[str] | None:
    """Return the names of a repository's files as the hub's client listed them; None if it did not."""
    if _is_snapshot(folder):
        lists = [folder.absolute().parent.parent / "trees" / f"{folder.absolute().name}.json"]
    else:
        lists = list((folder / ".cache" / "huggingface" / "trees").glob("*.json"))
    if len(lists) != 1 or not lists[0].is_file():  # several commits: not known which
        return None
    try:
        files = json.loads(lists[0].read_text("utf-8"))["files"]
        return {str(name) for name in files}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
