"""A model's folder -> its graph, for any runtime."""

from __future__ import annotations

from intel_quantized_embeddings.architectures import (
    EncoderConfig,
    Ending,
    SparseEnding,
    load_head,
    load_masked_lm,
    load_token_weights,
    load_weights,
)
from intel_quantized_embeddings.errors import OptionError, UnsupportedModelError
from intel_quantized_embeddings.models.endings import load_ending, load_scoring_chain
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.sparse import SparseHead, SparseSettings, special_ids
from intel_quantized_embeddings.models.weight_files import WeightKind
from intel_quantized_embeddings.options import Pooling, Precision, RuntimeName
from intel_quantized_embeddings.runtimes.base import ModelGraph
from intel_quantized_embeddings.runtimes.table import RUNTIMES, runtime_module, scoring_module, sparse_module


def build_embedder(
    source: SourceModel, settings: ModelSettings, *, runtime: RuntimeName, allow_torchscript: bool = False
) -> ModelGraph:
    """Make an embedder from safetensors, else from an export.

    The settings' pooling and normalization go into the graph. TorchScript, which is code, is an OptionError unless it
    is allowed; a model that the runtime can't run is an UnsupportedModelError.
    """
    module, ending = runtime_module(runtime), load_ending(source.path, settings)
    if source.weights.kind is not WeightKind.SAFETENSORS:
        return module.open_export(source, settings, ending, allow_torchscript=allow_torchscript)
    encoder = EncoderConfig.from_hf(source.config, where=source.name)
    weights = load_weights(source.path, encoder)
    return module.graph_of_weights(encoder, weights, ending.behind(weights.output_projection))


def build_cross_encoder(source: SourceModel, *, runtime: RuntimeName) -> ModelGraph:
    """Make a cross-encoder from safetensors; an export, or a head that does not give one score, is refused."""
    require_scoring(runtime)
    encoder = EncoderConfig.from_hf(source.config, where=source.name)
    if source.weights.kind is not WeightKind.SAFETENSORS:
        raise UnsupportedModelError(
            f"{source.name} holds an export; cross-encoders are built from model.safetensors only."
        )
    head = load_any_head(source, encoder)
    if head.row_pooling is Pooling.LAST and not source.is_chain:
        _refuse_padding_at_the_end(source, encoder)
    weights = load_weights(source.path, encoder)
    return scoring_module(runtime).graph_of_scorer(encoder, weights, head.behind(weights.output_projection))


def build_sparse(source: SourceModel, settings: SparseSettings, *, runtime: RuntimeName) -> ModelGraph:
    """Make a sparse model from safetensors; an export, or a model without a masked-LM head, is refused."""
    require_sparse(runtime)
    encoder = EncoderConfig.from_hf(source.config, where=source.name)
    ending = load_vocabulary(source, settings)
    return sparse_module(runtime).graph_of_vocabulary(encoder, load_weights(source.path, encoder), ending)


def load_vocabulary(source: SourceModel, settings: SparseSettings) -> SparseEnding:
    """Read what makes a sparse model's weights of its token vectors; raises what `build_sparse` does."""
    if source.weights.kind is not WeightKind.SAFETENSORS:
        raise UnsupportedModelError(
            f"{source.name} holds an export; sparse models are built from model.safetensors only."
        )
    encoder = EncoderConfig.from_hf(source.config, where=source.name)
    if settings.head is SparseHead.TOKEN_WEIGHTS:
        return load_token_weights(source.path, encoder, left_out=special_ids(source.path, settings))
    return load_masked_lm(
        source.path,
        encoder,
        source.config,
        pooling=settings.pooling,
        logarithms=settings.activation.logarithms,
        name=source.name,
    )


def _refuse_padding_at_the_end(source: SourceModel, encoder: EncoderConfig) -> None:
    """Check that a causal classifier's pairs do not end in padding, which transformers skips even if a template put it.

    Raises:
        UnsupportedModelError: They end in padding.
    """
    tokenizer = source.cross_encoder_settings(default_max_length=encoder.max_length).tokenizer(source.path)
    (ids,) = tokenizer.encode_pairs([("a", "b")], second_text=0).token_ids
    if ids and ids[-1] == source.config.get("pad_token_id"):
        raise UnsupportedModelError(
            f"the tokenizer of {source.name} ends every pair in the token {ids[-1]}, which is pad_token_id of its "
            f"config.json too: its classifier reads the last token that is none, which is not built in. Give padding "
            f"an id of its own."
        )


def load_any_head(source: SourceModel, encoder: EncoderConfig) -> Ending:
    """Read a cross-encoder's head, which ends in one score: a chain of modules, or its architecture's own."""
    if source.is_chain:
        return load_scoring_chain(source.path, encoder, source.config, name=source.name)
    return load_head(source.path, encoder, source.config, name=source.name)


def require_scoring(runtime: RuntimeName) -> None:
    """Check that a runtime runs cross-encoders; the OptionError names those that do."""
    if not RUNTIMES[runtime].scores_pairs:
        able = " or ".join(repr(name.value) for name, row in RUNTIMES.items() if row.scores_pairs)
        raise OptionError(f"runtime={runtime.value!r} is not available for a cross-encoder: they run on {able} only.")


def require_sparse(runtime: RuntimeName) -> None:
    """Check that a runtime runs sparse models; the OptionError says which do."""
    if not RUNTIMES[runtime].sparse:
        able = " or ".join(repr(name.value) for name, row in RUNTIMES.items() if row.sparse)
        raise OptionError(f"runtime={runtime.value!r} is not available for a sparse model: they run on {able} only.")


def require_instruction_sets(runtime: RuntimeName, asked: str | None) -> None:
    """Check that a runtime lets an instruction set be chosen, if one is asked for."""
    if asked is not None and not RUNTIMES[runtime].instruction_sets:
        able = " or ".join(repr(name.value) for name, row in RUNTIMES.items() if row.instruction_sets)
        raise OptionError(
            f"instruction_set={asked!r} is not available with runtime={runtime.value!r}, which chooses its own; it is "
            f"an option of runtime={able}."
        )


def require_precision(runtime: RuntimeName, precision: Precision) -> None:
    """Check that a runtime computes in a precision; the OptionError names those that it has."""
    offered = RUNTIMES[runtime].precisions
    if precision not in offered:
        has = " and ".join(repr(known.value) for known in offered)
        able = " or ".join(repr(name.value) for name, row in RUNTIMES.items() if precision in row.precisions)
        raise OptionError(
            f"precision={precision.value!r} is not available with runtime={runtime.value!r}, which has {has}. "
            f"It is with runtime={able}."
        )
