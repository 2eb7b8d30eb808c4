"""The model being quantized: its fp32 graph, its texts, and what every attempt is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.architectures import EncoderConfig, EncoderWeights
from intel_quantized_embeddings.model_files import TOKENIZER_FILE, ModelFolder
from intel_quantized_embeddings.model_settings import ModelSettings
from intel_quantized_embeddings.pipeline import encode_token_ids, tokenize_ahead
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit, Texts
from intel_quantized_embeddings.quantization.config import MethodName
from intel_quantized_embeddings.quantization.fidelity import Fidelity, summarize_cosines
from intel_quantized_embeddings.quantization.probes import COUNT_OF_VECTORS, LONGEST, Probe, choose
from intel_quantized_embeddings.quantization.recipe import QuantizerModule, Recipe
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.base import EmbedderGraph, Precision, Runtime, RuntimeName
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.tokenization import Tokenizer, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A quantized graph, how it was made, and how faithful it is on the held-out texts.

    Attributes:
        vectors: Of the held-out texts, documents before queries. Shape: (n_texts, dimension).
    """

    graph: Any
    recipe: Recipe
    fidelity: Fidelity
    vectors: NDArray[np.float32]


class GraphEncoder:
    """A compiled graph that takes texts, before there is a folder to load."""

    def __init__(self, runtime: Runtime, tokenizer: Tokenizer, settings: ModelSettings, *, pad_token_id: int) -> None:
        self._runtime, self._tokenizer, self._settings = runtime, tokenizer, settings
        self._pad_token_id = pad_token_id

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts to be searched. Shape: (n_texts, dimension)."""
        return self._encode(texts, self._settings.document_instruction)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts to search with. Shape: (n_texts, dimension)."""
        return self._encode(texts, self._settings.query_instruction)

    def _encode(self, texts: Sequence[str], instruction: str) -> NDArray[np.float32]:
        with closing(tokenize_ahead(texts, self._tokenizer, instruction=instruction)) as windows:
            return self._encode_windows(
                (window.token_ids for window in windows),
                named=lambda row: f"the text {shown(texts[row])}",  # a place among sorted halves tells nobody anything
            )

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Encode tokenized texts. Shape: (n_texts, dimension)."""
        return self._encode_windows([token_ids], named=lambda row: f"the text at {row}")

    def _encode_windows(
        self, windows: Iterable[Sequence[Sequence[int]]], *, named: Callable[[int], str]
    ) -> NDArray[np.float32]:
        return encode_token_ids(
            self._runtime,
            windows,
            pad_token_id=self._pad_token_id,
            max_length=self._settings.max_length,
            named=named,
        )


class Subject:
    """The model being quantized, its calibration texts tokenized, and its fp32 vectors of the held-out ones.

    Attributes:
        source: Where it is from.
        runtime: Which runtime it is quantized for.
        embedder: In fp32.
        quantizable: What is quantized: the embedder, or one like it whose weights were fine-tuned for that.
        settings: Pooling, instructions and maximum length.
        texts: Those calibrated on, and those held out.
        dimension: Numbers in a vector.
    """

    def __init__(
        self,
        source: ModelFolder,
        *,
        runtime: RuntimeName,
        embedder: EmbedderGraph,
        settings: ModelSettings,
        texts: CalibrationSplit,
    ) -> None:
        self.source, self.runtime, self.settings, self.texts = source, runtime, settings, texts
        self.embedder = self.quantizable = embedder
        self._tokenizer = Tokenizer(
            source.path / TOKENIZER_FILE, max_length=settings.max_length, lowercase=settings.lowercase
        )
        self.calibrated = self.token_ids(texts.calibrated)
        self._fp32 = _vectors(self.fp32_encoder(), texts.held_out)
        self.dimension = self._fp32[0].shape[1]

    @property
    def quantizer(self) -> QuantizerModule:
        """What quantizes it."""
        return quantizer_module(self.runtime)

    def token_ids(self, texts: Texts) -> list[Sequence[int]]:
        """Tokenize documents, then queries, each with its instruction and cut to the maximum length."""
        return [
            *self._tokenizer.encode(texts.documents, instruction=self.settings.document_instruction).token_ids,
            *self._tokenizer.encode(texts.queries, instruction=self.settings.query_instruction).token_ids,
        ]

    def with_weights(self, encoder: EncoderConfig, weights: EncoderWeights) -> Subject:
        """The same model, quantized from other weights and still compared with its own in fp32."""
        other = copy.copy(self)
        other.quantizable = runtime_module(self.runtime).graph_of_weights(encoder, weights, self.settings)
        return other

    def attempt(self, recipe: Recipe, *, every: int = 1) -> Attempt:
        """Quantize it in one way and compare it with fp32.

        Args:
            recipe: The way.
            every: Take only every so many-th text, of those to calibrate on and of those held out: faster, and
                coarser. They are in the order of their lengths.

        Raises:
            QuantizationError: The quantizer failed.
        """
        return self._measured(
            self.quantizer.quantize_graph(self.quantizable, self.calibrated[::every], recipe), recipe, every=every
        )

    def put_back(self, attempt: Attempt, layer: str, *, every: int = 1) -> Attempt:
        """Put one more linear layer in floating point: quickly where the runtime can, else by quantizing anew.

        Args:
            attempt: What to start from.
            layer: Which.
            every: As in `attempt`.

        Raises:
            QuantizationError: The quantizer failed.
        """
        recipe = replace(attempt.recipe, floating_point_layers=(*attempt.recipe.floating_point_layers, layer))
        graph = self.quantizer.put_back(self.quantizable, attempt.graph, layer)
        return self.attempt(recipe, every=every) if graph is None else self._measured(graph, recipe, every=every)

    def _measured(self, graph: Any, recipe: Recipe, *, every: int) -> Attempt:
        held_out = self.texts.held_out
        some = Texts(documents=held_out.documents[::every], queries=held_out.queries[::every])
        vectors = _vectors(self._int8_encoder(graph, recipe), some)
        documents, queries = (
            summarize_cosines(fp32[::every], int8) for fp32, int8 in zip(self._fp32, vectors, strict=True)
        )
        return Attempt(
            graph=graph,
            recipe=recipe,
            fidelity=Fidelity(documents=documents, queries=queries),
            vectors=np.concatenate(vectors),
        )

    def probes(self, attempt: Attempt) -> tuple[Probe, ...]:
        """Return held-out texts with their vectors in fp32 and in an attempt that was measured on all of them.

        Where too few texts are short, the beginnings of some are encoded for this.
        """
        token_ids, fp32, int8 = self.token_ids(self.texts.held_out), np.concatenate(self._fp32), attempt.vectors
        places: Sequence[int] = choose(token_ids, count=COUNT_OF_VECTORS)
        if len(places) < min(COUNT_OF_VECTORS, len(token_ids)):
            token_ids = [ids[:LONGEST] for ids in token_ids[:COUNT_OF_VECTORS]]
            fp32, int8 = (one.encode_token_ids(token_ids) for one in (self.fp32_encoder(), self.encoder(attempt)))
            places = range(len(token_ids))
        return tuple(Probe.of(token_ids[place], fp32=fp32[place], int8=int8[place]) for place in places)

    def encoder(self, attempt: Attempt) -> GraphEncoder:
        """Compile what an attempt made."""
        return self._int8_encoder(attempt.graph, attempt.recipe)

    def fp32_encoder(self) -> GraphEncoder:
        """Compile the model as it is."""
        return self._compiled(self.embedder.graph, Precision.FP32)

    def _int8_encoder(self, graph: Any, recipe: Recipe) -> GraphEncoder:
        return self._compiled(graph, Precision.INT8, dynamic=recipe.method is MethodName.DYNAMIC)

    def _compiled(self, graph: Any, precision: Precision, *, dynamic: bool = False) -> GraphEncoder:
        return GraphEncoder(
            runtime_module(self.runtime).compile_graph(graph, precision=precision, dynamic=dynamic),
            self._tokenizer,
            self.settings,
            pad_token_id=self.embedder.pad_token_id,
        )


def _vectors(encoder: GraphEncoder, texts: Texts) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return encoder.encode_documents(texts.documents), encoder.encode_queries(texts.queries)
