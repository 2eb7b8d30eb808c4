"""A model's folder -> the graph to compile: quantized before, on first use, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.encoders.quantized_folder import (
    Loaded,
    open_quantized,
    overridden,
    require_able,
    settle_runtime,
)
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, OptionError
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.models.routes import refuse_routes
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.static import (
    UNLIMITED,
    StaticTokenizer,
    is_model2vec,
    read_table,
    refuse_options,
    refuse_static,
    static_length,
)
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.models.weight_files import WeightKind, runtime_of_weights
from intel_quantized_embeddings.models.weight_table import read_weight_table, refuse_weight_table
from intel_quantized_embeddings.options import LoadOptions, Precision, RuntimeName
from intel_quantized_embeddings.process.forks import importing
from intel_quantized_embeddings.process.tokenizer_threads import refuse_lost_threads
from intel_quantized_embeddings.quantization.kinds import EMBEDDER, SPARSE, Kind
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.static import StaticRuntime, WeightTableRuntime
from intel_quantized_embeddings.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from intel_quantized_embeddings.quantization.subject import Settings

logger = logging.getLogger(__name__)


def find_model(options: LoadOptions, kind: Kind) -> SourceModel:
    """Find a model for `Encoder.load` or `CrossEncoder.load`, after all checks that need no download."""
    if options.runtime is not None:  # checked before anything is downloaded
        require_able(RuntimeName(options.runtime), kind, options)
    for name in kind.meaningless:
        value = getattr(options, name)
        if value is not None:
            raise OptionError(f"{name}={value!r} is for models that make embeddings; {options.model} {kind.does}.")
    refuse_lost_threads()  # before any work
    return find_asked(options)


def read_settings(source: SourceModel, kind: Kind, options: LoadOptions) -> Settings:
    """Read the settings of a model that is no Router from its folder, without opening the model."""
    return kind.manifest_class.read(source.path).settings if source.is_quantized else kind.settings(source, options)


def load_model(options: LoadOptions, kind: Kind, source: SourceModel | None = None) -> Loaded:
    """Open a model, with the errors of `Encoder.load`; `source` is looked up if it is None."""
    source = find_model(options, kind) if source is None else source
    if not source.path.is_dir():  # what was found before, as a service does, may be gone since
        raise ModelFilesError(f"{source.path}, where {source.name} was found, is no longer there. Put it back.")
    if source.is_quantized:
        return open_quantized(source.path, kind, options, from_hub=source.revision)
    if source.routes is not None:  # RoutedModel loads both models of a Router, each by itself
        raise refuse_routes(source.name, what="which scores no pairs")
    if source.static is not None:
        return _static(source, source.static, kind, options)
    if source.weight_table is not None:
        return _weight_table(source, source.weight_table, kind, options)
    return _of_layers(source, kind, options)


def _unable(kind: Kind) -> str:
    return "which scores no pairs" if kind.scores_pairs else "which makes no sparse vectors"


def _of_layers(source: SourceModel, kind: Kind, options: LoadOptions) -> Loaded:
    """Open an export or a model's weights in the precision asked for."""
    options = settle_runtime(options, kind, runtime_of_weights(source.weights.kind))
    settings = kind.settings(source, options)
    # Only opening an export shows whether it is int8 already; safetensors never are.
    quantizable = source.weights.kind is WeightKind.SAFETENSORS and source.weights.files
    wants_int8 = options.precision == Precision.INT8.value
    if wants_int8 and source.weights.kind is WeightKind.EXPORT:
        # Only fp32 exports have an int8 form in the cache, so one that has need not be opened to see its precision.
        before = _quantized_before(source, settings, kind, options)
        if before is not None:
            return before
    if wants_int8 and quantizable and RUNTIMES[RuntimeName(options.runtime)].quantizes_at_once:
        return _quantized_at_once(source, settings, kind, options)
    if not wants_int8 or not quantizable:
        opened = _unquantized(source, settings, kind, options)
        if opened is not None:
            return opened
    return _quantized_on_first_use(source, settings, kind, options)


def _static(source: SourceModel, where: Path, kind: Kind, options: LoadOptions) -> Loaded:
    """Open a static model, which has no runtime and one precision."""
    if kind is not EMBEDDER:
        raise refuse_static(source.name, what=_unable(kind))
    refuse_options(
        source.name, pooling=options.pooling, runtime=options.runtime, instruction_set=options.instruction_set
    )
    precision = Precision(options.precision)
    if precision is Precision.BF16:
        raise OptionError(f"precision='bf16' is not available for {source.name}, a static model; it has 'fp32'.")
    table, settings = read_table(where), source.settings(normalize=options.normalize)
    if precision is Precision.INT8:
        logger.warning(
            "%s is a static model: a table of words' vectors, kept as %s, whose mean is computed in float32. Nothing "
            "is quantized, whatever precision is asked for; precision='fp32' says the same without this line",
            source.name,
            table.rows.dtype.name,
        )
    settings = overridden(settings, kind, options, max_positions=UNLIMITED)
    return Loaded(
        runtime=None,
        graph=StaticRuntime(table, normalize=settings.normalize),
        folder=source.path,
        settings=settings,
        pad_token_id=0,
        hashes=source.hashes(),
        tokenizer=StaticTokenizer(
            where,
            max_length=settings.max_length,
            own_length=static_length(source.path, where) if is_model2vec(where) else None,
        ),
    )


def _weight_table(source: SourceModel, where: Path, kind: Kind, options: LoadOptions) -> Loaded:
    """Open a table of tokens' weights, which has no runtime and one precision."""
    if kind is not SPARSE:
        raise refuse_weight_table(source.name, what="which makes sparse vectors")
    for name, value in (("runtime", options.runtime), ("instruction_set", options.instruction_set)):
        if value is not None:
            raise OptionError(
                f"{name}={value!r} is not available for {source.name}, a table of tokens' weights, which are looked up "
                f"in NumPy without any runtime. Leave {name} out."
            )
    if not source.is_route and options.precision == Precision.BF16.value:
        raise OptionError(f"precision='bf16' is not available for {source.name}, a table of weights; it has 'fp32'.")
    settings = overridden(source.sparse_settings(), kind, options, max_positions=UNLIMITED)
    return Loaded(
        runtime=None,
        graph=WeightTableRuntime(read_weight_table(where)),
        folder=source.path,
        settings=settings,
        pad_token_id=0,
        hashes=source.hashes(),
        tokenizer=settings.tokenizer(where),
    )


def _quantized_before(source: SourceModel, settings: Any, kind: Kind, options: LoadOptions) -> Loaded | None:
    """Open the int8 form of an export in the cache; None if there is none."""
    with importing():
        from intel_quantized_embeddings.quantization.cache import quantized_before

    folder = quantized_before(
        source, settings, kind=kind, runtime=RuntimeName(options.runtime), cache_folder=options.cache_folder
    )
    if folder is None:
        return None
    with _explain_cache_damage(folder):
        return open_quantized(folder, kind, options)


def _quantized_at_once(source: SourceModel, settings: Any, kind: Kind, options: LoadOptions) -> Loaded:
    """Read a model and quantize it in memory, which takes no longer than reading it."""
    runtime = RuntimeName(options.runtime)
    model = kind.build(source, settings, runtime, options.allow_torchscript)
    quantizer = quantizer_module(runtime)
    around = Tokenizer(source.path / TOKENIZER_FILE, max_length=settings.max_length).encode([""]).token_ids
    graph = quantizer.quantize_graph(model, around, Recipe(method=quantizer.METHODS[0]))
    return Loaded(
        runtime=runtime,
        graph=graph,
        folder=source.path,
        settings=overridden(settings, kind, options, max_positions=model.max_positions),
        pad_token_id=model.pad_token_id,
        hashes=source.hashes(*kind.more_weights(source)) | {"recipe": str(quantizer.RECIPE_VERSION)},
        second_text=model.second_text,
    )


def _quantized_on_first_use(source: SourceModel, settings: Any, kind: Kind, options: LoadOptions) -> Loaded:
    """Open the int8 form in the cache, quantizing the model first if it is not there."""
    with importing():
        from intel_quantized_embeddings.quantization.cache import quantized_on_first_use

    folder = quantized_on_first_use(
        source, settings, kind=kind, runtime=RuntimeName(options.runtime), cache_folder=options.cache_folder
    )
    with _explain_cache_damage(folder):
        loaded = open_quantized(folder, kind, options)
    # Vectors don't depend on these, so a folder in the cache may have been made with other values of them.
    as_today = {name: getattr(settings, name) for name in kind.not_hashed}
    return replace(loaded, settings=replace(loaded.settings, **as_today))


@contextmanager
def _explain_cache_damage(folder: Path) -> Iterator[None]:
    """Add advice to the error of a damaged folder in the cache."""
    try:
        yield
    except (DamagedFilesError, ModelFilesError) as exc:
        raise DamagedFilesError(
            f"{exc} This folder was made on first use: delete {folder} to have it made again."
        ) from exc


def _unquantized(source: SourceModel, settings: Any, kind: Kind, options: LoadOptions) -> Loaded | None:
    """Open a model folder at the precision of its weights; None when it must be quantized first."""
    precision = Precision(options.precision)
    model = kind.build(source, settings, RuntimeName(options.runtime), options.allow_torchscript)
    if precision is Precision.INT8 and model.precision is not Precision.INT8:
        return None
    if precision is not Precision.INT8 and model.precision is Precision.INT8:
        raise OptionError(
            f"precision={precision.value!r} was asked of {source.name}, which was quantized and computes as int8. Pass "
            f"precision='int8'."
        )
    return Loaded(
        runtime=RuntimeName(options.runtime),
        graph=model.graph,
        folder=source.path,
        settings=overridden(settings, kind, options, max_positions=model.max_positions),
        pad_token_id=model.pad_token_id,
        hashes=source.hashes(*kind.more_weights(source)),
        dynamic=model.dynamic,
        second_text=model.second_text,
    )
