"""sentence-transformers' Router: one chain of modules for queries, another for documents.

The folder of a route's first module is a model of its own: its modules are those of the route, and what follows the
Router. One route may begin in the Router's own folder, as OpenSearch's sparse models have it.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.files.inside import path_inside
from intel_quantized_embeddings.files.json_files import parse_json, read_json

QUERY, DOCUMENT = "query", "document"
CONFIG_FILE = "router_config.json"
OWN_CONFIG_FILE = "config_sentence_transformers.json"

_KIND = "sentence_transformers."
# A quantized folder's manifest lists its model card too.
_FILES = ("*.json", "*.safetensors", "*.txt", "encoder.*", "README.md")
# A module's name in the Router's file is that of its folder; these are the Router's own.
_OWN_FOLDER = ("", ".")
_PARAMETERS = ("default_route", "allow_empty_key", "route_mappings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The two models of a Router.

    Attributes:
        query: The folder of the model for queries.
        document: The folder of the model for documents.
        default: The route of texts that are neither.
    """

    query: Path
    document: Path
    default: str


def read_routes(folder: Path) -> Routes | None:
    """Read a Router; None for any other folder.

    Other routes than query and document, and two that part behind a module, are an UnsupportedModelError.
    """
    config = _config(folder)
    if config is None:
        return None
    path, structure, parameters = folder / CONFIG_FILE, config["structure"], config.get("parameters") or {}
    mappings, default = parameters.get("route_mappings"), parameters.get("default_route")
    unknown = [key for key in parameters if key not in _PARAMETERS]
    if set(structure) != {QUERY, DOCUMENT} or mappings or unknown:
        asked = f"route_mappings={mappings!r}" if mappings else f"the routes {', '.join(structure)}"
        raise UnsupportedModelError(
            f"{path} has {f'{unknown[0]}={parameters[unknown[0]]!r}' if unknown else asked}; built in are the two "
            f"routes {QUERY!r} and {DOCUMENT!r}."
        )
    if default is None and parameters.get("allow_empty_key", True):
        default = next(iter(structure))
    if default not in (QUERY, DOCUMENT):
        raise UnsupportedModelError(
            f"{path} has default_route={default!r} and allow_empty_key=false: a text that is neither query nor "
            f"document has no route. Write {DOCUMENT!r} for default_route."
        )
    first = {route: path_inside(folder, names[0], listed_in=path) for route, names in structure.items()}
    if first[QUERY] == first[DOCUMENT] and structure[QUERY] != structure[DOCUMENT]:
        raise UnsupportedModelError(
            f"{path} begins both routes with the module {structure[QUERY][0]!r} and goes on differently; built in are "
            f"two routes with modules of their own, or the same ones."
        )
    return Routes(query=first[QUERY], document=first[DOCUMENT], default=default)


def route_modules(folder: Path) -> list[tuple[str, Path]] | None:
    """Return the (type, folder) of the modules of a route that begins in a folder; None if none does."""
    own: tuple[str, ...] = _OWN_FOLDER
    router = folder
    if not (folder / "modules.json").is_file():
        own, router = (folder.name,), folder.parent
        if not folder.name:
            return None
    config = _config(router)
    if config is None:
        return None
    chain: list[str] = next((chain for chain in config["structure"].values() if chain[0] in own), [])
    if not chain:
        return None
    path = router / CONFIG_FILE
    types = config["types"]
    if missing := [name for name in chain if not isinstance(types.get(name), str)]:
        raise DamagedFilesError(f"{path} gives no type of the module {missing[0]!r}.")
    routed = [(types[name], path_inside(router, name, listed_in=path)) for name in chain]
    listed = router / "modules.json"
    behind = [
        (str(module.get("type", "")), path_inside(router, str(module.get("path", "")), listed_in=listed))
        for module in parse_json(listed)[1:]
    ]
    return [(routed[0][0], folder), *routed[1:], *behind]


def first_module(folder: Path) -> tuple[str, Path] | None:
    """Return the last part of the type of a model's first module, and its folder; None without any list of modules.

    The type is not checked. Of a Router's route, it is the route's first module.
    """
    routed = route_modules(folder)
    if routed is not None:
        return routed[0][0].rpartition(".")[2], routed[0][1]
    listed = folder / "modules.json"
    if not listed.is_file():
        return None
    parsed = parse_json(listed)
    first = parsed[0] if isinstance(parsed, list) and parsed else None
    if not isinstance(first, dict):
        return "", folder
    where = path_inside(folder, str(first.get("path", "")), listed_in=listed)
    return str(first.get("type", "")).rpartition(".")[2], where


def route_patterns(folder: Path) -> list[str] | None:
    """Return patterns of the files of a Router's modules; None without a Router."""
    config = _config(folder)
    if config is None:
        return None
    names = {name for chain in config["structure"].values() for name in chain}
    for name in names:
        path_inside(folder, name, listed_in=folder / CONFIG_FILE)
    return [kind if name in _OWN_FOLDER else f"{glob.escape(name)}/{kind}" for name in sorted(names) for kind in _FILES]


def refuse_routes(model: str, *, what: str) -> UnsupportedModelError:
    """Return the error for a place that takes one model, which a Router is not."""
    return UnsupportedModelError(
        f"{model} is a Router of two models, one for queries and one for documents, {what}. Encoder.load takes both; "
        f"whatever takes one model takes the folder of either, which {CONFIG_FILE} names first."
    )


def own_config_file(folder: Path) -> Path:
    """Return the path of a model's `config_sentence_transformers.json`; a route's is beside the Router."""
    own = folder / OWN_CONFIG_FILE
    if own.is_file() or (folder / "modules.json").is_file() or route_modules(folder) is None:
        return own
    return folder.parent / OWN_CONFIG_FILE


def _config(folder: Path) -> dict[str, Any] | None:
    """Return the Router's own file, if `modules.json` begins with a Router."""
    listed, path = folder / "modules.json", folder / CONFIG_FILE
    if not (listed.is_file() and path.is_file()):
        return None
    modules = parse_json(listed)
    first = modules[0] if isinstance(modules, list) and modules and isinstance(modules[0], dict) else {}
    type_ = str(first.get("type", ""))
    if not type_.startswith(_KIND) or type_.rpartition(".")[2] != "Router" or first.get("path", ""):
        return None
    config = read_json(path)
    structure, types = config.get("structure"), config.get("types")
    sound = (
        isinstance(structure, dict)
        and isinstance(types, dict)
        and isinstance(config.get("parameters") or {}, dict)
        and all(isinstance(c, list) and c and all(isinstance(name, str) for name in c) for c in structure.values())
        and all(isinstance(module, dict) for module in modules)
    )
    if not sound:
        raise DamagedFilesError(f"{path} is not a Router's: structure is {structure!r}, types are {types!r}.")
    return config
