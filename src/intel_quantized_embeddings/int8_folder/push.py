"""`push_to_hub`: an int8 folder in, a commit on the hub out."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from intel_quantized_embeddings.errors import HubUploadError, OptionError, one_line
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.int8_folder.manifest import MODEL_CARD, FolderManifest, read_manifest
from intel_quantized_embeddings.models.hub_client import hub_name
from intel_quantized_embeddings.models.routes import CONFIG_FILE, OWN_CONFIG_FILE
from intel_quantized_embeddings.models.source import MANIFEST_FILE, SourceModel
from intel_quantized_embeddings.models.weight_table import weight_table_files, weight_table_folder
from intel_quantized_embeddings.options import require_bool

# Those beside the folders of its models, for which there is no manifest.
_ROUTERS_FILES = ("modules.json", CONFIG_FILE, OWN_CONFIG_FILE, MODEL_CARD)
_REPO_ID = re.compile(r"[\w.-]+/[\w.-]+")


def push_to_hub(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    revision: str | None = None,
    private: bool = False,
    token: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a folder that `quantize` wrote to the hub, where `Encoder.load(repo_id)` finds it.

    Every file is checked against the manifest first. One commit then holds the manifest and the files that it lists;
    other files of the folder stay here. The model card, `README.md`, may have been edited. The commit of a Router's
    folder holds both models, its own files, and a model card beside them if there is one; a table of tokens' weights
    has no manifest to be checked against.

    Args:
        folder: An int8 folder, of a model of any kind or of a Router.
        repo_id: The repository, "owner/name", which is made if it does not exist.
        revision: The branch to commit to instead of main, which is made if it does not exist.
        private: Make a new repository private; an existing one stays as it is.
        token: A token that may write; None takes `HF_TOKEN` or that of `hf auth login`.
        commit_message: None names the source model.

    Returns:
        The commit's address.

    Raises:
        OptionError: `repo_id` is not of that form, or `private` is not True or False.
        ModelFilesError: The folder or a file of it is missing.
        DamagedFilesError: A file was changed after it was written.
        UnsupportedModelError: The folder was written by a newer version.
        HubUploadError: There is no token, it may not write there, or the hub can't be reached.

    Example:
        >>> push_to_hub("bge-small-int8", "me/bge-small-int8")  # doctest: +SKIP
        'https://huggingface.co/me/bge-small-int8/commit/...'
    """
    if not isinstance(repo_id, str) or not _REPO_ID.fullmatch(repo_id):
        raise OptionError(f"repo_id={repo_id!r} is not allowed; it is 'owner/name', like 'me/bge-small-int8'.")
    require_bool("private", private)
    path = Path(folder).expanduser()
    manifests, files = _checked(path)
    first = manifests[0]
    names = " and ".join(dict.fromkeys(manifest.source.id for manifest in manifests))
    message = commit_message or f"Upload {names} in {first.precision} for {first.runtime}"
    return _commit(
        path,
        files,
        repo_id,
        revision=revision,
        private=private,
        token=token,
        message=message,
    )


def _checked(folder: Path) -> tuple[list[FolderManifest], list[str]]:
    """Return the manifests of a folder, both for a Router, and the names of its files, once all hashes are checked."""
    routes = SourceModel(path=folder, name=folder.name, revision=None).routes
    models = [folder] if routes is None else [routes.query, routes.document]
    files = [] if routes is None else [name for name in _ROUTERS_FILES if _is_file_inside(folder, name)]
    manifests = []
    for model in models:
        if (table := weight_table_folder(model)) is not None:  # a Router's, which has no manifest
            files += [
                file.relative_to(folder).as_posix() for file in (table / "config.json", *weight_table_files(table))
            ]
            continue
        manifest = read_manifest(model)
        manifest.verify(model)
        manifests.append(manifest)
        files += [(model / name).relative_to(folder).as_posix() for name in (*manifest.files, MANIFEST_FILE)]
    return manifests, files


def _is_file_inside(router: Path, name: str) -> bool:
    """Whether a Router has a file; a link that leads out of its folder is a DamagedFilesError."""
    return path_inside(router, name, listed_in=router).is_file()


def _commit(
    folder: Path,
    files: list[str],
    repo_id: str,
    *,
    revision: str | None,
    private: bool,
    token: str | None,
    message: str,
) -> str:
    """Commit by huggingface_hub, whose errors all become a HubUploadError here."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise HubUploadError(f"{folder} was not uploaded to {repo_id}: HF_HUB_OFFLINE is set. Unset it to upload.")
    # True takes the user's own token, and raises an error if there is none, before anything is sent.
    api = HfApi(token=True if token is None else token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[glob.escape(name) for name in files],
            revision=revision,
            commit_message=message,
        )
    except Exception as exc:
        raise HubUploadError(f"{folder} was not uploaded to {repo_id}: {_problem(exc, repo_id)}") from exc
    return str(commit.commit_url)


def _problem(exc: Exception, repo_id: str) -> str:
    """Say what went wrong and what to do next."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    causes = list(_causes(exc))
    answer = next((cause for cause in causes if isinstance(cause, HfHubHTTPError)), None)
    status = None if answer is None else answer.response.status_code
    where, said = hub_name(), f"{type(exc).__name__}: {one_line(exc)}"
    if answer is not None and answer is not exc:
        said += f" {one_line(answer)}"
    if isinstance(exc, LocalTokenNotFoundError):
        return (
            "there is no token. Make one that may write (huggingface.co/settings/tokens), then set HF_TOKEN, run "
            "`hf auth login` or pass token=."
        )
    if status == 401:
        return f"{where} does not know the token. Set HF_TOKEN, run `hf auth login` or pass token= with a valid one."
    if status == 403:
        return (
            f"the token may not write there: it can only read, or {repo_id.partition('/')[0]!r} on {where} is not an "
            f"account or organization it may write to. ({said})"
        )
    # The client's transport is requests up to 0.36, whose errors are OSErrors, then httpx, then httpx2.
    if status is None and any(isinstance(c, OSError) or type(c).__module__.startswith("httpx") for c in causes):
        return f"{where} could not be reached ({said}). Try again; HF_ENDPOINT names a mirror."
    return f"{where} did not take it: {said}"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: an upload's threads wrap the hub's errors."""
    while exc is not None:
        yield exc
        exc = exc.__cause__
