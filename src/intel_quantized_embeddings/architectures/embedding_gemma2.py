"""EmbeddingGemma 2's encoder of texts: Gemma 3's layers, both ways, some with wider heads, all with a third half."""

from __future__ import annotations

import math
from dataclasses import replace

from intel_quantized_embeddings.architectures.config_values import ConfigValues
from intel_quantized_embeddings.architectures.description import NO_ROPE_SCALING, Architecture, Heads, LayerKind
from intel_quantized_embeddings.architectures.gemma3 import GEMMA3
from intel_quantized_embeddings.architectures.layer_kinds import FULL, SLIDING, read_biases, read_rotary
from intel_quantized_embeddings.architectures.tensor_names import RecallNames

_OF_LAYERS = ("head_dim", "num_key_value_heads")


def _names(config: ConfigValues) -> tuple[str, ...]:
    """Return the kinds of layers; the last one sees all tokens whatever is listed, as in transformers."""
    count = config.layers("num_hidden_layers")
    every = config.size("sliding_window_pattern", default=6)
    listed = config.names("layer_types", known=(FULL, SLIDING), count=count)
    names = listed or tuple(SLIDING if (i + 1) % every else FULL for i in range(count))
    return (*names[:-1], FULL)


def _layer_kinds(config: ConfigValues) -> tuple[LayerKind, ...]:
    parameters = config.section("rope_parameters")
    # So many tokens on each side: not Gemma 3's width of both.
    reach = config.size("sliding_window", default=512)
    kinds = {
        FULL: LayerKind(rotary=read_rotary(parameters.section(FULL), default=1_000_000.0)),
        SLIDING: LayerKind(
            before=reach, after=reach, rotary=read_rotary(parameters.section(SLIDING), default=10_000.0)
        ),
    }
    return tuple(kinds[name] for name in _names(config))


def _heads(config: ConfigValues, usual: Heads) -> tuple[Heads, ...]:
    """Read what `per_layer_config` says of single layers; without that key, layers that see all have heads of 512."""
    names = _names(config)
    if "per_layer_config" not in config:
        size = config.size("global_head_dim", default=512)
        wide = Heads(size=size, keys=config.size("num_global_key_value_heads", default=1))
        return tuple(wide if name == FULL else usual for name in names)
    own = config.of_layers("per_layer_config", count=len(names), known=_OF_LAYERS)
    heads = [usual] * len(names)
    for index, values in own.items():
        size, keys = (
            values.size(key, default=of) for key, of in zip(_OF_LAYERS, (usual.size, usual.keys), strict=True)
        )
        heads[index] = Heads(size=size, keys=keys)
    return tuple(heads)


EMBEDDING_GEMMA2 = Architecture(
    name="embedding_gemma2",
    model_types=("embedding_gemma2_text", "embedding_gemma2"),
    sections={"embedding_gemma2": "text_config"},
    block=replace(GEMMA3.block, norm_offset=0.0, value_norm=True),
    biases=read_biases,
    layer_kinds=_layer_kinds,
    heads=_heads,
    embedding_factor=math.sqrt,
    keys=replace(
        GEMMA3.keys,
        attention_scale=1.0,
        recall_size="hidden_size_per_layer_input",
        output_size="embedding_dim",
    ),
    default_norm_eps=1e-6,
    refusals=(NO_ROPE_SCALING,),
    longest_text=8192,
    prefixes=("language_model.",),
    weights=replace(
        GEMMA3.weights,
        recall=RecallNames(
            inputs="ple.per_layer_model_projection",
            input_norm="ple.per_layer_projection_norm",
            gate="ple_block.per_layer_input_gate",
            output="ple_block.per_layer_projection",
            norm="ple_block.post_per_layer_input_norm",
            factor="layer_scalar",
        ),
        output_projection="embedding_projection",
    ),
)
