"""The systems of `iqe benchmark`: this package in every runtime and precision. `bench/` adds other libraries."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.benchmarks.loaded import Job, LoadedSystem, Request
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.encoders.loading import load_model
from intel_quantized_embeddings.encoders.sparse_encoder import SparseEncoder
from intel_quantized_embeddings.encoding.batching import padded
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.int8_folder.manifest import read_manifest
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.options import LoadOptions, Precision, RuntimeName
from intel_quantized_embeddings.quantization.kinds import EMBEDDER, SPARSE
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
from intel_quantized_embeddings.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = ("latency", "throughput", "corpus", "queries", "threads")
OURS, REFERENCE = "native-int8", "native-fp32"
BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A system that turns texts into vectors.

    Attributes:
        name: Its name for `--systems`.
        label: Its name in tables and plots.
        load: Makes it ready, in a process of its own.
        prepare: Makes and keeps the files that it needs, in another process; None if it needs none.
        parts: The parts that measure it.
        needs: Modules that must be importable, and the distributions that bring them.
        bf16: Whether the CPU must have bfloat16.
        baseline: Whether ratios are to it if it is the first such system; without any they are to `REFERENCE`.
        query_baseline: The same for queries.
        sparse: Whether it runs sparse models too.
    """

    name: str
    label: str
    load: Callable[[Request], LoadedSystem]
    prepare: Callable[[Request], object] | None = None
    parts: tuple[str, ...] = PARTS
    needs: tuple[tuple[str, str], ...] = ()
    bf16: bool = False
    baseline: bool = False
    query_baseline: bool = False
    sparse: bool = False

    def job(self, request: Request) -> Job:
        """Return the job of its process for a request."""
        return Job(
            load=partial(self.load, request),
            log=request.kept / f"{self.name}.log",
            num_threads=request.num_threads,
            prepare=None if self.prepare is None else partial(self.prepare, request),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The systems that can be measured here, and a reason for every other, under its label."""

    systems: tuple[System, ...]
    not_measured: dict[str, str]

    def for_sparse(self, *, named: bool) -> Selection:
        """Return the selection without systems that do not run sparse models.

        Raises:
            OptionError: There is such a system, and the systems were asked for by name.
        """
        unable = [system for system in self.systems if not system.sparse]
        if unable and named:
            raise OptionError(f"--systems {unable[0].name} does not run sparse models.")
        left_out = {system.label: "does not run sparse models" for system in unable}
        able = tuple(system for system in self.systems if system.sparse)
        return Selection(systems=able, not_measured=self.not_measured | left_out)


@dataclass(frozen=True, slots=True)
class _Ours:
    """Loads an encoder of this package. It is a class so that it can be pickled for a process."""

    runtime: RuntimeName
    precision: Precision

    def __call__(self, request: Request) -> LoadedSystem:
        given = {"model": _origin(self._folder(request)) if self.precision is Precision.INT8 else "the fp32 folder"}
        return load_ours(self._options(request), sparse=request.sparse, given=given)

    def prepare(self, request: Request) -> None:
        """Quantize into the cache, unless that was done before."""
        if request.sparse:
            SparseEncoder.load(**self._options(request))
        else:
            load_model(LoadOptions(**self._options(request)), EMBEDDER)

    def _folder(self, request: Request) -> Path | None:
        return _int8_folder(request, self.runtime) if self.precision is Precision.INT8 else None

    def _options(self, request: Request) -> dict[str, Any]:
        return {
            **_model(request, self._folder(request)),
            "runtime": self.runtime.value,
            "precision": self.precision.value,
            "num_threads": request.num_threads,
            "max_length": request.max_length,
            # Every system gets the same texts, without instructions.
            "query_instruction": "",
            "document_instruction": "",
        }


def load_ours(options: dict[str, Any], *, sparse: bool, given: dict[str, str]) -> LoadedSystem:
    """Load an encoder, with LangChain's `embed_query` over it if langchain-core is installed (else its own).

    A sparse model has its own `encode_queries`; `given` is for the record.
    """
    if sparse:
        return _load_sparse(options, given)
    embed_query: Callable[[str], Any]
    if is_installed("langchain_core"):
        from intel_quantized_embeddings.integrations.langchain import IntelQuantizedEmbeddings

        embeddings = IntelQuantizedEmbeddings(**options)
        encoder, embed_query = embeddings.encoder, embeddings.embed_query
    else:
        encoder = Encoder.load(**options)

        def embed_query(text: str) -> Any:
            return encoder.encode_queries([text])[0].tolist()

    return LoadedSystem(encode=lambda texts, _: encoder.encode_documents(texts), embed_query=embed_query, given=given)


def _load_sparse(options: dict[str, Any], given: dict[str, str]) -> LoadedSystem:
    model = SparseEncoder.load(**options)
    return LoadedSystem(
        encode=lambda texts, _: model.encode_documents(texts),
        embed_query=lambda text: model.encode_queries([text]),
        given=given,
        rows=lambda vectors: SPARSE.joined(vectors) if isinstance(vectors, list) else vectors,
    )


def in_input_order(request: Request) -> LoadedSystem:
    """Load the int8 graph with batches in input order, each padded to its longest text.

    LangChain's retired class made such batches. Graph, hints and threads are those of this package's int8.
    """
    from intel_quantized_embeddings.runtimes.openvino import OpenVINORuntime

    folder = _int8_folder(request, RuntimeName.OPENVINO)
    options = LoadOptions(**_model(request, folder), runtime=RuntimeName.OPENVINO.value, max_length=request.max_length)
    loaded = load_model(options, EMBEDDER)
    tokenizer = Tokenizer(
        loaded.folder / TOKENIZER_FILE, max_length=request.max_length, lowercase=loaded.settings.lowercase
    )
    runtime = OpenVINORuntime(loaded.graph, num_threads=request.num_threads)

    def run(texts: list[str]) -> NDArray[np.float32]:
        return runtime.run(*padded(tokenizer.encode(texts).token_ids, pad_token_id=loaded.pad_token_id))

    def encode(texts: list[str], batch_size: int) -> NDArray[np.float32]:
        return np.concatenate([run(texts[at : at + batch_size]) for at in range(0, len(texts), batch_size)])

    return LoadedSystem(
        encode=encode,
        embed_query=lambda text: run([text])[0].tolist(),
        given={"model": _origin(folder), "batches": "in input order, padded to the longest"},
    )


def _int8_folder(request: Request, runtime: RuntimeName) -> Path | None:
    """Return the folder of `--int8` if it is of this runtime; None to quantize on first use."""
    if request.int8 is None or read_manifest(_described(request.int8)).runtime != runtime.value:
        return None
    return request.int8


def _described(folder: Path) -> Path:
    """Return the folder whose manifest tells the runtime: a Router's model of documents, else the folder itself."""
    routes = SourceModel(path=folder, name=folder.name, revision=None).routes
    return folder if routes is None else routes.document


def _model(request: Request, folder: Path | None) -> dict[str, Any]:
    """Return `Encoder.load`'s options for the model: the int8 folder, or the fp32 model and where its files are."""
    if folder is not None:
        return {"model": folder}
    return {"model": request.name, "revision": request.revision, "cache_folder": request.cache_folder}


def _origin(folder: Path | None) -> str:
    return "quantized on first use" if folder is None else f"the int8 folder {folder.name}"


_NEEDS = {
    RuntimeName.NATIVE: (),
    RuntimeName.OPENVINO: (("openvino", "'intel-quantized-embeddings[openvino]'"),),
    RuntimeName.IPEX: (("intel_extension_for_pytorch", "'intel-quantized-embeddings[ipex]'"),),
}


def _ours(runtime: RuntimeName, precision: Precision) -> System:
    loader = _Ours(runtime, precision)
    return System(
        name=f"{runtime.value}-{precision.value}",
        label=f"iqe {runtime.value} {precision.value}",
        load=loader,
        prepare=loader.prepare if precision is Precision.INT8 else None,
        parts=PARTS if precision is Precision.INT8 else ("latency", "throughput", "corpus"),
        needs=_NEEDS[runtime],
        bf16=precision is Precision.BF16,
        sparse=RUNTIMES[runtime].sparse,
    )


SYSTEMS: tuple[System, ...] = (
    *(_ours(runtime, precision) for runtime in RuntimeName for precision in RUNTIMES[runtime].precisions),
    System(
        name="input-order-int8",
        label="iqe int8, batches of 32 in input order",
        load=in_input_order,
        prepare=_Ours(RuntimeName.OPENVINO, Precision.INT8).prepare,
        parts=("corpus",),
        needs=_NEEDS[RuntimeName.OPENVINO],
    ),
)


def select(
    names: Sequence[str] | None,
    known: Sequence[System] = SYSTEMS,
    *,
    installed: Callable[[str], bool] | None = None,
    bf16: Callable[[], bool] = has_bfloat16,
) -> Selection:
    """Select the systems that can be measured here, of those asked for by name, or of all.

    Raises:
        OptionError: A name is unknown, or a system asked for can't run here.
    """
    by_name = {system.name: system for system in known}
    if names is not None and (unknown := [name for name in names if name not in by_name]):
        raise OptionError(
            f"--systems {unknown[0]!r} is not known; there are {', '.join(by_name)}. Other libraries are measured by "
            f"`python -m bench` in the repository."
        )
    asked = known if names is None else [by_name[name] for name in dict.fromkeys(names)]
    systems, not_measured = [], {}
    for system in asked:
        reason = _obstacle(system, installed or is_installed, bf16)
        if reason is None:
            systems.append(system)
        elif names is not None:
            raise OptionError(f"--systems {system.name} can't be measured here: {reason}.")
        else:
            not_measured[system.label] = reason
    return Selection(systems=tuple(systems), not_measured=not_measured)


def is_installed(module: str) -> bool:
    """Return whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _obstacle(system: System, installed: Callable[[str], bool], bf16: Callable[[], bool]) -> str | None:
    missing = [package for module, package in system.needs if not installed(module)]
    if missing:
        return f"pip install {' '.join(dict.fromkeys(missing))}"
    if system.bf16 and not bf16():
        return "this CPU has no bfloat16"
    return None
