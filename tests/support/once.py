"""What OpenVINO compiles and NNCF quantizes of the same tiny graph, made once a session instead of hundreds of times.

Most tests load or quantize one of a few tiny models on the way to what they test; the two libraries' work on it is the
same each time. Graphs of real models and processes that tests start do all of it themselves.
"""

from __future__ import annotations

import collections
import ctypes
import hashlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino as ov
import pytest

from intel_quantized_embeddings.quantization import openvino as quantizer
from intel_quantized_embeddings.runtimes.openvino import OpenVINORuntime, _Requests

if TYPE_CHECKING:
    from intel_quantized_embeddings.quantization.recipe import Recipe

_LARGEST = 2_000_000  # bytes of constants; the smallest real model has 90 MB
_MOST = 48  # compiled graphs, of some MB each
_compiled: collections.OrderedDict[tuple[object, ...], ov.CompiledModel] = collections.OrderedDict()
_quantized: dict[tuple[object, ...], tuple[list[str], ov.Model]] = {}

_compile = OpenVINORuntime._compile
_quantize = quantizer._quantized
_files = tempfile.TemporaryDirectory(prefix="iqe-tests-graphs-")


def compile_once(self: OpenVINORuntime, options: dict[str, int], *, queued: bool = False) -> _Requests:
    """`OpenVINORuntime._compile`, with the model that was compiled of an equal graph with equal options."""
    content = _content(self._graph)
    if content is None:
        return _compile(self, options, queued=queued)
    # OpenVINO's number of threads follows from the process' cores.
    cores = tuple(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()
    key = (content, self._precision, self._dynamic, *sorted(options.items()), cores)
    found = _compiled.get(key)
    if found is not None:
        return _Requests(found, queued=queued)
    requests = _compile(self, options, queued=queued)
    _compiled[key] = requests._compiled
    if len(_compiled) > _MOST:
        _compiled.popitem(last=False)
    return requests


def quantize_once(
    graph: ov.Model, token_ids: Sequence[Sequence[int]], recipe: Recipe, in_float: Sequence[str]
) -> ov.Model:
    """NNCF's static quantization, with what it made of an equal graph with equal texts and settings."""
    content = _content(graph)
    if content is None:
        return _quantize(graph, token_ids, recipe, in_float)
    key = (content, tuple(map(tuple, token_ids)), repr(recipe), tuple(in_float))
    names = [node.get_friendly_name() for node in graph.get_ordered_ops()]
    if key not in _quantized:
        _quantized[key] = names, _quantize(graph, token_ids, recipe, in_float).clone()
    names_then, quantized = _quantized[key]
    quantized = quantized.clone()
    # Nodes that nobody named have the number of the day, by which they are found in both graphs.
    renamed = dict(zip(names_then, names, strict=True))
    for node in quantized.get_ops():
        node.set_friendly_name(renamed.get(node.get_friendly_name(), node.get_friendly_name()))
    return quantized


def make_once(patch: pytest.MonkeyPatch) -> None:
    """Let both be done once."""
    patch.setattr(OpenVINORuntime, "_compile", compile_once)
    patch.setattr(quantizer, "_quantized", quantize_once)


def make_anew(patch: pytest.MonkeyPatch) -> None:
    """Let both be done each time, where that is what is tested."""
    patch.setattr(OpenVINORuntime, "_compile", _compile)
    patch.setattr(quantizer, "_quantized", _quantize)


def _content(graph: ov.Model) -> str | None:
    """A digest of a tiny graph, whatever numbers its unnamed nodes have; None of a large one."""
    if sum(node.get_byte_size() for node in graph.get_ops() if node.get_type_name() == "Constant") > _LARGEST:
        return None
    xml, weights = Path(_files.name, f"{os.getpid()}.xml"), Path(_files.name, f"{os.getpid()}.bin")
    ov.serialize(graph, xml, weights)
    described = re.sub(rb' name="([^"]*\b[A-Z]\w*?)_\d+"', rb' name="\1"', xml.read_bytes())
    return hashlib.sha256(described + weights.read_bytes()).hexdigest()


def _leave_behind() -> None:
    """In a forked process nothing compiled before may be used, or taken down at its end."""
    global _compiled
    left: Any = _compiled
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
    _compiled = collections.OrderedDict()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_behind)
