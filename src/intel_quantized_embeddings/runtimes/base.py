"""The Protocols of runtimes and their graphs; `runtimes/table.py` lists the runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from intel_quantized_embeddings.architectures import EncoderConfig, EncoderWeights, Ending, SparseEnding
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.options import Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from intel_quantized_embeddings.models.source import SourceModel


@runtime_checkable
class RaggedRuntime(Protocol):
    """A model that takes texts of any lengths at once. Safe to call from several threads at once."""

    @property
    def dimension(self) -> int:
        """Numbers in a row."""
        ...

    @property
    def streams(self) -> int:
        """The number of threads that a call may use."""
        ...

    @property
    def least_tokens(self) -> int:
        """The fewest tokens that a text may have."""
        ...

    def run_ragged(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Run texts, or pairs of them, with all threads.

        Args:
            token_ids: One sequence for each, of `least_tokens` or more, up to the longest that the model takes.

        Returns:
            Shape: (texts, dimension).
        """
        ...


@runtime_checkable
class PaddedRuntime(Protocol):
    """A compiled model that takes batches of one length. Safe to call from several threads at once."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def streams(self) -> int:
        """The number of batches that `run_in_stream` takes side by side: one for each thread that it may use."""
        ...

    def run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch with all threads.

        Args:
            input_ids: Shape: (batch, length).
            attention_mask: 1 for a text's own tokens, 0 for padding. Shape: (batch, length).

        Returns:
            Pooled vectors. Shape: (batch, dimension).
        """
        ...

    def run_in_stream(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Encode one batch with one thread, beside others; otherwise as `run`."""
        ...


Runtime: TypeAlias = RaggedRuntime | PaddedRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraph:
    """A model made from a folder: token ids in, one row a text or pair out.

    The row is a pooled vector, a sparse one written out, or one number: a cross-encoder's score before any activation.

    Attributes:
        graph: The runtime's own type: an `openvino.Model`, a torch module, a `NativeGraph`.
        precision: FP32, or INT8 for a model that others quantized.
        max_positions: The longest input in tokens.
        pad_token_id: The id of padding.
        dynamic: Whether a model that others quantized quantizes activations at run time.
        second_text: Number added to the token ids of a pair's second text so that the graph can tell the two apart; 0
            if the model does not.
    """

    graph: Any
    precision: Precision
    max_positions: int
    pad_token_id: int
    dynamic: bool = False
    second_text: int = 0

    @classmethod
    def of_weights(cls, graph: Any, encoder: EncoderConfig, *, second_text: bool = False) -> ModelGraph:
        """Make a ModelGraph of a graph in fp32; `second_text` says whether ids tell a pair's second text apart."""
        return cls(
            graph=graph,
            precision=Precision.FP32,
            max_positions=encoder.max_length,
            pad_token_id=encoder.pad_token_id,
            second_text=encoder.vocab_size if second_text else 0,
        )


class RuntimeModule(Protocol):
    """The functions of `runtimes/openvino.py`, `runtimes/native.py` and `runtimes/ipex.py`."""

    ENCODER_FILE: str

    def graph_of_weights(self, encoder: EncoderConfig, weights: EncoderWeights, ending: Ending) -> ModelGraph:
        """Make an embedder of one of the built-in families from weights in memory.

        Args:
            encoder: The encoder's sizes.
            weights: Its weights.
            ending: Pooling and what follows it, which go into the graph.

        Raises:
            UnsupportedModelError: This runtime does not compute such an ending.
            DamagedFilesError: A step's weights are not for rows of that width.
        """
        ...

    def open_export(
        self, source: SourceModel, settings: ModelSettings, ending: Ending, *, allow_torchscript: bool
    ) -> ModelGraph:
        """Make an embedder from an export: a graph that others made.

        Args:
            source: The model, whose weights are not safetensors.
            settings: The settings of its folder.
            ending: Pooling and what follows it, which go into the graph.
            allow_torchscript: Whether a TorchScript file, which is code, may be opened.

        Raises:
            UnsupportedModelError: This runtime can't run such a model.
            DamagedFilesError: A file is not what it should be.
            OptionError: It is TorchScript, and that is not allowed.
        """
        ...

    def read_graph(self, file: Path) -> Any:
        """Read an embedder that `save_graph` wrote.

        Raises:
            DamagedFilesError: The file can't be read.
        """
        ...

    def save_graph(self, graph: Any, file: Path) -> None:
        """Write a quantized embedder under the name `ENCODER_FILE`."""
        ...

    def compile_graph(
        self,
        graph: Any,
        *,
        precision: Precision,
        num_threads: int | None = None,
        dynamic: bool = False,
        instruction_set: str | None = None,
    ) -> Runtime:
        """Make a graph ready to run on this CPU.

        Args:
            graph: The embedder.
            precision: BF16 runs floating-point layers in bfloat16.
            num_threads: Threads for one call; None takes the cores that the process was granted.
            dynamic: Whether it was quantized to have its activations quantized batch by batch.
            instruction_set: The instructions to use; only for a runtime that lets them be chosen.

        Raises:
            OptionError: The CPU has no bfloat16, or does not run the instruction set.
        """
        ...


class ScoringModule(RuntimeModule, Protocol):
    """A `RuntimeModule` that runs cross-encoders too."""

    def graph_of_scorer(self, encoder: EncoderConfig, weights: EncoderWeights, head: Ending) -> ModelGraph:
        """Make a cross-encoder of one of the built-in families from weights in memory.

        Args:
            encoder: The encoder's sizes.
            weights: Its weights.
            head: The part that makes a score of the token vectors.
        """
        ...


class SparseModule(RuntimeModule, Protocol):
    """A `RuntimeModule` that runs sparse models too."""

    def graph_of_vocabulary(self, encoder: EncoderConfig, weights: EncoderWeights, ending: SparseEnding) -> ModelGraph:
        """Make a sparse model of one of the built-in families from weights in memory.

        Args:
            encoder: The encoder's sizes.
            weights: Its weights.
            ending: What makes a number for each token of the vocabulary of the token vectors.

        Raises:
            UnsupportedModelError: This runtime does not compute such an ending.
        """
        ...
