"""A model's sizes and choices for the engine: `iqe_config` of native/src/iqe.h, and `encoder.json` of a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from intel_quantized_embeddings.architectures import (
    Activation,
    EncoderConfig,
    Ending,
    SparseEnding,
    SparsePooling,
    StepActivation,
    TokenWeights,
    VocabularyEnding,
)
from intel_quantized_embeddings.architectures.config import LONGEST_TEXT
from intel_quantized_embeddings.architectures.description import NormPlace
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.options import Pooling

LANES = 16  # every width is padded to a multiple of this

ACTIVATIONS = {Activation.GELU: 0, Activation.GELU_TANH: 1, Activation.RELU: 2, Activation.SILU: 4}
POOLINGS = {
    Pooling.CLS: 0,
    Pooling.MEAN: 1,
    Pooling.LAST: 2,
    Pooling.MAX: 3,
    Pooling.MEAN_SQRT_LENGTH: 4,
    Pooling.WEIGHTED_MEAN: 5,
}
SEVERAL_POOLINGS = 6
TOKENS_POOLING = 9
VOCABULARY_POOLINGS = {SparsePooling.MAX: 7, SparsePooling.SUM: 8}
STEP_ACTIVATIONS = {
    StepActivation.GELU: 0,
    StepActivation.GELU_TANH: 1,
    StepActivation.RELU: 2,
    StepActivation.TANH: 3,
    StepActivation.SIGMOID: 16,
    StepActivation.IDENTITY: 17,
}
# By how often a logarithm is taken.
VOCABULARY_ACTIVATIONS = {1: 18, 2: 19}
VOCABULARY_LEVELS = 200
DENSE_STEP, LAYER_NORM_STEP, UNIT_LENGTH_STEP, POOL_STEP = range(4)
INT8, FP32 = 0, 1

# The linear parts of a layer, in order, and the number of steps of the int8 rows that each reads. Fewer steps leave
# more of 16 bits to the weights: the best numbers were searched on two models (docs/native.md).
LEVELS = dict.fromkeys(("qkv", "attention_output", "intermediate", "output"), 200)

# The linear parts of a layer's third half.
RECALL_PARTS = ("recall_inputs", "recall_gate", "recall_output")
RECALL_LEVELS = 200

FORMAT_VERSION = 1


def padded(width: int) -> int:
    """Return a width padded for the engine."""
    return -(-width // LANES) * LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes and choices of a model, by the names of `iqe_config`, which explains each; defaults are BERT's."""

    hidden: int
    layers: int
    heads: int
    head_size: int
    inner: int
    vocabulary: int
    positions: int
    activation: int
    pooling: int
    precision: int
    second_text: int
    padding: int
    relative: int
    qkv_levels: int = LEVELS["qkv"]
    attention_output_levels: int = LEVELS["attention_output"]
    intermediate_levels: int = LEVELS["intermediate"]
    output_levels: int = LEVELS["output"]
    key_heads: int
    norms_aside: int = 0
    branch_norms: int = 0
    first_norm: int = 0
    embedding_norm: int = 1
    centred: int = 1
    head_norms: int = 0
    rotary: int = 0
    gated: int = 0
    steps: int
    outputs: int
    epsilon: float

    NUMBERS: ClassVar[tuple[str, ...]] = (
        *("hidden", "layers", "heads", "head_size", "inner", "vocabulary", "positions", "activation", "pooling"),
        *("precision", "second_text", "padding", "relative"),
        *(f"{part}_levels" for part in LEVELS),
        *("key_heads", "norms_aside", "branch_norms", "first_norm", "embedding_norm", "centred", "head_norms"),
        *("rotary", "gated", "steps", "outputs"),
    )

    @property
    def has_vocabulary(self) -> bool:
        """Whether the last step gives a number for each token of the vocabulary."""
        return self.pooling in VOCABULARY_POOLINGS.values()

    @property
    def weighs_tokens(self) -> bool:
        """Whether what comes out is a weight of each of a text's tokens."""
        return self.pooling == TOKENS_POOLING

    @property
    def numbers(self) -> int:
        """Numbers in a text's row that count."""
        return self.vocabulary if self.has_vocabulary or self.weighs_tokens else self.outputs

    @staticmethod
    def of(encoder: EncoderConfig, ending: Ending | SparseEnding, *, second_text: bool) -> Shape:
        """Return the shape of a model in fp32.

        Args:
            encoder: Its sizes.
            ending: The part behind its layers.
            second_text: Whether ids tell a pair's second text apart.
        """
        block, names = encoder.block, encoder.architecture.weights
        aside = block.norms is not NormPlace.POST
        widths = ending.widths(encoder.hidden_size, where="the model")
        if isinstance(ending, VocabularyEnding):
            pooling, steps, outputs = VOCABULARY_POOLINGS[ending.pooling], len(ending.steps) + 1, padded(widths[-1])
        elif isinstance(ending, TokenWeights):
            pooling, steps, outputs = TOKENS_POOLING, len(ending.steps), widths[-1]
        else:
            single = ending.row_pooling
            pooling = SEVERAL_POOLINGS if single is None else POOLINGS[single]
            steps, outputs = len(ending.steps) + (len(ending.poolings) if single is None else 0), widths[-1]
        return Shape(
            hidden=encoder.hidden_size,
            layers=encoder.num_layers,
            heads=encoder.num_heads,
            key_heads=encoder.heads[0].keys,
            head_size=encoder.heads[0].size,
            inner=padded(encoder.intermediate_size),
            vocabulary=encoder.vocab_size,
            positions=encoder.max_length,
            activation=ACTIVATIONS[encoder.activation],
            pooling=pooling,
            precision=FP32,
            second_text=int(second_text),
            padding=encoder.pad_token_id if encoder.block.positions_after_padding else -1,
            relative=int(encoder.relative_attention_buckets > 0 or encoder.block.alibi),
            norms_aside=int(aside),
            branch_norms=int(block.norms is NormPlace.SANDWICH),
            first_norm=int(aside and not block.first_norm_missing),
            embedding_norm=int(names.embedding_norm is not None),
            centred=int(not block.rms_norm),
            head_norms=int(names.query_norm is not None),
            rotary=int(bool(encoder.rotaries)),
            gated=int(block.gated),
            steps=steps,
            outputs=outputs,
            epsilon=encoder.layer_norm_eps,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of `encoder.json`."""
        return {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(content: Mapping[str, Any], *, where: str) -> Shape:
        """Read `encoder.json`; the engine checks the range of each number.

        Raises:
            DamagedFilesError: A name is missing or unknown, or a value is not a number of 32 bits.
            UnsupportedModelError: It is of a later version of this package.
        """
        version = content.get("format_version")
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise UnsupportedModelError(
                f"{where} is of format {version}; this version of the package reads up to {FORMAT_VERSION}. Update it."
            )
        values = {name: value for name, value in content.items() if name != "format_version"}
        if version != FORMAT_VERSION or set(values) != {*Shape.NUMBERS, "epsilon"}:
            raise DamagedFilesError(f"{where} is not the description of an encoder that it should be.")
        epsilon = values.pop("epsilon")
        for name, value in values.items():
            if not isinstance(value, int) or isinstance(value, bool) or not -(2**31) <= value < 2**31:
                raise DamagedFilesError(f"{where} has {name}={value!r}; an integer of 32 bits is needed.")
        if values["positions"] > LONGEST_TEXT:
            raise DamagedFilesError(f"{where} has positions={values['positions']}; at most {LONGEST_TEXT} are allowed.")
        if not isinstance(epsilon, float) or not 0 < epsilon < 1:
            raise DamagedFilesError(f"{where} has epsilon={epsilon!r}; a number between 0 and 1 is needed.")
        return Shape(**values, epsilon=epsilon)
