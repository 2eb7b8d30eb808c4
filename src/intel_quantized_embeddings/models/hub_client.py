"""Downloads by huggingface_hub, whose errors all become a ModelFilesError here."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path

from intel_quantized_embeddings.errors import ModelFilesError, one_line
from intel_quantized_embeddings.process.forks import importing

logger = logging.getLogger(__name__)


def hub_name() -> str:
    """Return the hub's name for messages: its address where it is a mirror."""
    return os.environ.get("HF_ENDPOINT", "the Hugging Face hub")


def snapshot(
    model: str,
    patterns: list[str],
    *,
    revision: str | None,
    cache_folder: str | None,
    local_files_only: bool,
    hint: str,
) -> Path:
    """Fetch the files that match `patterns` and are not here yet; `hint` ends messages about an unknown model."""
    with importing():
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.utils import get_session

        offline = local_files_only or constants.HF_HUB_OFFLINE
        if not offline:
            # Created now, while no fork can happen: OpenSSL's locks can't be recreated in a forked process.
            get_session()
    try:
        return Path(
            snapshot_download(
                model,
                revision=revision,
                cache_dir=cache_folder,
                local_files_only=local_files_only,
                allow_patterns=patterns,
            )
        )
    except Exception as exc:  # the hub client's transport errors have changed library three times
        raise ModelFilesError(_problem(exc, model, revision=revision, offline=offline, hint=hint)) from exc


def _problem(exc: Exception, model: str, *, revision: str | None, offline: bool, hint: str) -> str:
    """Say what went wrong and what to do next."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = hub_name()
    if isinstance(exc, GatedRepoError):
        return f"{model} on {where} asks for its licence to be accepted first; do so there and set HF_TOKEN."
    if isinstance(exc, RevisionNotFoundError):
        return f"{model} on {where} has no revision {revision!r}."
    if isinstance(exc, RepositoryNotFoundError):
        return (
            f"there is no folder {model!r} here and no such model on {where}, or it is private and HF_TOKEN does not "
            f"open it.{hint}"
        )
    if isinstance(exc, LocalEntryNotFoundError):
        some = f" ({one_line(exc)})" if type(exc).__name__ == "IncompleteSnapshotError" else ""
        # A refused connection, a proxy, a certificate.
        kept = "" if exc.__cause__ is None else f" ({type(exc.__cause__).__name__}: {one_line(exc.__cause__)})"
        return (
            f"the local cache does not have the files of {model}{f' at revision {revision}' if revision else ''}{some}"
            f", and {where} {'was not asked' if offline else f'could not be reached{kept}'}. Load it once where "
            f"the hub can be reached (HF_ENDPOINT names a mirror), or pass the path of a folder with its files; there "
            f"is no folder {model!r} here.{hint}"
        )
    return f"fetching {model} from {where} failed: {type(exc).__name__}: {one_line(exc)}"


def note_missing(
    names: Collection[str], model: str, path: Path, cache_folder: str | None, *, local_files_only: bool
) -> None:
    """Make the hub's client note once which files a repository does not have, so that this is known offline too.

    Version 2 of the client keeps a list of the repository and needs no such notes.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if local_files_only or constants.HF_HUB_OFFLINE:
        return
    for name in names:
        try:
            hf_hub_download(model, name, revision=path.name, cache_dir=cache_folder)
        except LocalEntryNotFoundError:
            return  # the hub can't be reached
        except EntryNotFoundError:
            continue
        except Exception as exc:  # noqa: BLE001 - see `snapshot`; what was not learnt is said where it is missed
            logger.debug("asking for %s of %s: %s", name, model, one_line(exc))
            return
