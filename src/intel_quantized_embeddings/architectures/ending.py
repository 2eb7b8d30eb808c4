"""The part of a model behind the last layer, as data: pooling, and a chain of steps on each text's row.

In a sparse model the steps are on each token's row, and pooling comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from intel_quantized_embeddings.architectures.layers import Linear, Norm
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError
from intel_quantized_embeddings.options import Pooling

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StepActivation(str, Enum):
    """The activation of a dense step. Names are those of `Activation` where both have it."""

    IDENTITY = "identity"
    TANH = "tanh"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    RELU = "relu"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer and an activation."""

    linear: Linear
    activation: StepActivation = StepActivation.IDENTITY


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Layer normalization."""

    norm: Norm
    epsilon: float


@dataclass(frozen=True, slots=True)
class UnitLength:
    """Scaling to length 1."""


Step: TypeAlias = Dense | LayerNorm | UnitLength


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Everything behind the last layer, of an embedder or a cross-encoder.

    Attributes:
        poolings: One pooling, or several whose rows are concatenated.
        steps: The steps on that row, in order.
    """

    poolings: tuple[Pooling, ...]
    steps: tuple[Step, ...] = ()

    @staticmethod
    def plain(pooling: Pooling, *, normalize: bool) -> Ending:
        """Make an ending of one pooling, with or without scaling to length 1."""
        return Ending(poolings=(pooling,), steps=(UnitLength(),) if normalize else ())

    @property
    def row_pooling(self) -> Pooling | None:
        """The only pooling; None if there are several."""
        return self.poolings[0] if len(self.poolings) == 1 else None

    def as_plain(self) -> tuple[Pooling, bool] | None:
        """Return the pooling, cls, mean or last, and whether rows get length 1; None if there is more."""
        single = self.row_pooling
        if single not in (Pooling.CLS, Pooling.MEAN, Pooling.LAST) or self.steps not in ((), (UnitLength(),)):
            return None
        return single, bool(self.steps)

    def widths(self, hidden: int, *, where: str) -> tuple[int, ...]:
        """Return the width of a row behind pooling and behind each step.

        Args:
            hidden: Numbers in a token's vector.
            where: What to call the model in an error.

        Raises:
            DamagedFilesError: A step's weights are not for rows of so many numbers.
        """
        widths = [hidden * len(self.poolings)]
        for number, step in enumerate(self.steps):
            takes = widths[-1]
            if isinstance(step, Dense):
                takes = step.linear.weight.shape[1]
            elif isinstance(step, LayerNorm):
                takes = len(step.norm.weight)
            if takes != widths[-1]:
                raise DamagedFilesError(
                    f"{where}: step {number + 1} behind pooling takes {takes} numbers, and its input has {widths[-1]}. "
                    f"Where pooling= was given, leave it out; else the files do not belong together: fetch the model "
                    f"again."
                )
            widths.append(step.linear.weight.shape[0] if isinstance(step, Dense) else takes)
        return tuple(widths)

    def behind(self, projection: Linear | None) -> Ending:
        """Return the ending of a model whose tokens' vectors go through a linear layer without a bias first.

        Pooling a text's tokens and then its row gives the same, in a step for each text instead of each token; but the
        largest of each number is another then.

        Raises:
            UnsupportedModelError: A pooling is `max`.
        """
        if projection is None:
            return self
        if Pooling.MAX in self.poolings:
            raise UnsupportedModelError(
                "pooling='max' is not built in for a model whose last layer projects each token's vector, as "
                "EmbeddingGemma 2's does. Use pooling='mean', which such a model is trained with."
            )
        weight = np.kron(np.eye(len(self.poolings), dtype=np.float32), projection.weight)
        return Ending(
            poolings=self.poolings, steps=(Dense(Linear(weight, np.zeros(len(weight), np.float32))), *self.steps)
        )

    def folded(self) -> Ending:
        """Return the same with consecutive linear steps multiplied into one, where that is less work.

        The product is computed in double precision, so that one step is more exact than the two.
        """
        steps: list[Step] = []
        for step in self.steps:
            before = steps[-1] if steps else None
            if isinstance(step, Dense) and isinstance(before, Dense) and _folds(before, step):
                steps[-1] = Dense(_product(before.linear, step.linear), step.activation)
            else:
                steps.append(step)
        return Ending(poolings=self.poolings, steps=tuple(steps))


class SparsePooling(str, Enum):
    """The pooling of a sparse model's tokens into one row, by sentence-transformers' names."""

    MAX = "max"
    SUM = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyEnding:
    """Everything behind the last layer of a model whose rows have a number for each token of its vocabulary.

    SPLADE's (https://arxiv.org/abs/2109.10086): a masked-LM head gives each token of a text a number for each of the
    vocabulary, of which log(1 + max(x, 0)) is taken, and the greatest over the text.

    Attributes:
        steps: The steps on each token's vector.
        vocabulary: The layer behind them, which makes those numbers; weight (vocabulary, hidden).
        pooling: The pooling of a text's tokens into one row.
        logarithms: Number of times that log(1 + x) is taken of max(x, 0): 1 or 2.
    """

    steps: tuple[Step, ...]
    vocabulary: Linear
    pooling: SparsePooling
    logarithms: int

    def widths(self, hidden: int, *, where: str) -> tuple[int, ...]:
        """Return how many numbers a token's row has at first and behind each step, the vocabulary's too.

        A step that is not for rows of so many numbers is a DamagedFilesError, as of `Ending.widths`.
        """
        return Ending(poolings=(Pooling.MEAN,), steps=(*self.steps, Dense(self.vocabulary))).widths(hidden, where=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWeights:
    """Everything behind the last layer of a model that weighs a text's own tokens, as bge-m3 does.

    The weight of a token is max(x, 0) of one linear layer's number, the greatest where a text has the token several
    times (https://arxiv.org/abs/2402.03216).

    Attributes:
        weight: The layer; weight (1, hidden).
        left_out: Ids of tokens that have no weight: the special ones.
    """

    weight: Linear
    left_out: tuple[int, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps on each token's vector."""
        return (Dense(self.weight, StepActivation.RELU),)

    def widths(self, hidden: int, *, where: str) -> tuple[int, ...]:
        """Return how many numbers a token's row has at first and behind the layer; see `VocabularyEnding.widths`."""
        return Ending(poolings=(Pooling.MEAN,), steps=self.steps).widths(hidden, where=where)


SparseEnding: TypeAlias = VocabularyEnding | TokenWeights


def _folds(before: Dense, after: Dense) -> bool:
    (inner, inputs), (outputs, takes) = before.linear.weight.shape, after.linear.weight.shape
    smaller = outputs * inputs <= inner * (inputs + outputs)
    return before.activation is StepActivation.IDENTITY and takes == inner and smaller


def _product(first: Linear, second: Linear) -> Linear:
    def exact(array: NDArray[np.float32]) -> NDArray[np.float64]:
        return array.astype(np.float64)

    weight = exact(second.weight) @ exact(first.weight)
    bias = exact(second.weight) @ exact(first.bias) + second.bias
    return Linear(weight.astype(np.float32), bias.astype(np.float32))
