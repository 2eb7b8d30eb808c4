"""The model being quantized: its fp32 graph, its inputs, and the rows that every candidate is compared with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from intel_quantized_embeddings.architectures import EncoderConfig, EncoderWeights
from intel_quantized_embeddings.encoding.pipeline import encode_token_ids, tokenize_windows
from intel_quantized_embeddings.int8_folder.config import MethodName
from intel_quantized_embeddings.int8_folder.fidelity import Fidelity, ScoreFidelity, SparseFidelity
from intel_quantized_embeddings.int8_folder.probes import LONGEST, Probe, choose
from intel_quantized_embeddings.models.endings import load_ending
from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.options import Precision, RuntimeName
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit, Texts
from intel_quantized_embeddings.quantization.inputs import Inputs
from intel_quantized_embeddings.quantization.recipe import QuantizerModule, Recipe
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.base import ModelGraph, Runtime
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.texts import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from intel_quantized_embeddings.quantization.kinds import Kind

Settings: TypeAlias = ModelSettings | CrossEncoderSettings | SparseSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A quantized graph with its recipe and its fidelity on the held-out inputs.

    Attributes:
        rows: Vectors, or scores before any activation, of the held-out inputs, as the kind keeps them.
            Shape: (n_inputs, numbers).
    """

    graph: Any
    recipe: Recipe
    fidelity: Fidelity | ScoreFidelity | SparseFidelity
    rows: Any


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
        with closing(tokenize_windows(texts, self._tokenizer, instruction=instruction)) as windows:
            return encode_token_ids(
                self._runtime,
                (window.token_ids for window in windows),
                pad_token_id=self._pad_token_id,
                max_length=self._settings.max_length,
                named=lambda row: f"the text {shown(texts[row])}",  # its place would mean nothing to the caller
            )


class Subject:
    """The model being quantized, its calibration inputs tokenized, and its fp32 rows of the held-out ones.

    Attributes:
        source: The model's folder.
        kind: The kind of model: an embedder or a cross-encoder.
        runtime: The runtime that it is quantized for.
        model: Its graph in fp32.
        quantizable: The graph to quantize: `model`, or the same with fine-tuned weights.
        settings: The caller's settings, else its folder's.
        texts: The texts calibrated on, and those held out.
        calibrated: Token ids of the inputs calibrated on.
        held_out: The inputs that fidelity is measured on, in groups that are summarized apart.
    """

    def __init__(
        self,
        source: SourceModel,
        *,
        kind: Kind,
        runtime: RuntimeName,
        model: ModelGraph,
        settings: Settings,
        texts: CalibrationSplit,
    ) -> None:
        self.source, self.kind, self.runtime, self.settings, self.texts = source, kind, runtime, settings, texts
        self.model = self.quantizable = model
        self._tokenizer = settings.tokenizer(source.path)
        self.calibrated = self.tokenized(texts.calibrated)
        self.held_out = kind.tokenized(texts.held_out, self._tokenizer, settings, model.second_text)
        self._fp32 = self._rows(model.graph, Precision.FP32, self.held_out)

    @property
    def quantizer(self) -> QuantizerModule:
        """The quantizer of its runtime."""
        return quantizer_module(self.runtime)

    @property
    def numbers(self) -> int:
        """Numbers in a row."""
        return int(self._fp32[0].shape[1])

    def with_weights(self, encoder: EncoderConfig, weights: EncoderWeights) -> Subject:
        """Return the same subject, quantized from other weights and still compared with its own in fp32."""
        other, ending = copy.copy(self), load_ending(self.source.path, self.text_settings)
        ending = ending.behind(weights.output_projection)
        other.quantizable = runtime_module(self.runtime).graph_of_weights(encoder, weights, ending)
        return other

    def tokenized(self, texts: Texts) -> list[Sequence[int]]:
        """Return the tokenized inputs made of texts."""
        groups = self.kind.tokenized(texts, self._tokenizer, self.settings, self.model.second_text)
        return [ids for inputs in groups for ids in inputs.token_ids]

    def attempt(self, recipe: Recipe, *, every: int = 1) -> Candidate:
        """Quantize by a recipe and compare the result with fp32.

        With `every`, only every n-th input is calibrated and measured on (inputs are sorted by length), which is faster
        and coarser.
        """
        return self._measured(
            self.quantizer.quantize_graph(self.quantizable, self.calibrated[::every], recipe), recipe, every=every
        )

    def put_back(self, attempt: Candidate, layer: str, *, every: int = 1) -> Candidate:
        """Put one more linear layer in floating point: quickly if the runtime can, else by quantizing again."""
        recipe = replace(attempt.recipe, floating_point_layers=(*attempt.recipe.floating_point_layers, layer))
        graph = self.quantizer.put_back(self.quantizable, attempt.graph, layer)
        return self.attempt(recipe, every=every) if graph is None else self._measured(graph, recipe, every=every)

    def _measured(self, graph: Any, recipe: Recipe, *, every: int) -> Candidate:
        some = [inputs.every(every) for inputs in self.held_out]
        rows = self._rows(graph, Precision.INT8, some, dynamic=_is_dynamic(recipe))
        fidelity = self.kind.fidelity([fp32[::every] for fp32 in self._fp32], rows)
        return Candidate(graph=graph, recipe=recipe, fidelity=fidelity, rows=self.kind.joined(rows))

    def probes(self, attempt: Candidate) -> tuple[Probe, ...]:
        """Return held-out inputs with their rows in fp32 and in a candidate that was measured on all of them.

        If too few inputs are short, the beginnings of some are run.
        """
        token_ids = [ids for inputs in self.held_out for ids in inputs.token_ids]
        fp32, int8 = self.kind.joined(self._fp32), attempt.rows
        count = self.kind.probes
        places: Sequence[int] = choose(token_ids, count=count)
        if len(places) < min(count, len(token_ids)):
            token_ids = [ids[:LONGEST] for ids in token_ids[:count]]
            beginnings = [Inputs(token_ids=token_ids, named="the input {}".format)]
            (fp32,) = self._rows(self.model.graph, Precision.FP32, beginnings)
            (int8,) = self._rows(attempt.graph, Precision.INT8, beginnings, dynamic=_is_dynamic(attempt.recipe))
            places = range(len(token_ids))
        return tuple(self.kind.probe(token_ids[place], fp32[[place]], int8[[place]]) for place in places)

    def encoder(self, attempt: Candidate) -> GraphEncoder:
        """Compile a candidate of an embedder, to encode texts."""
        return self._text_encoder(self._compiled(attempt.graph, Precision.INT8, dynamic=_is_dynamic(attempt.recipe)))

    def fp32_encoder(self) -> GraphEncoder:
        """Compile the fp32 embedder, to encode texts."""
        return self._text_encoder(self._compiled(self.model.graph, Precision.FP32))

    @property
    def text_settings(self) -> ModelSettings:
        """The settings of an embedder."""
        assert isinstance(self.settings, ModelSettings)  # callers have checked that it is an embedder
        return self.settings

    def _text_encoder(self, compiled: Runtime) -> GraphEncoder:
        return GraphEncoder(compiled, self._tokenizer, self.text_settings, pad_token_id=self.model.pad_token_id)

    def _rows(self, graph: Any, precision: Precision, groups: Sequence[Inputs], *, dynamic: bool = False) -> list[Any]:
        """Run every input of each group. Shape of each: (n_inputs, numbers)."""
        compiled = self._compiled(graph, precision, dynamic=dynamic)
        return [
            self.kind.encode(
                compiled,
                [inputs.token_ids],
                pad_token_id=self.model.pad_token_id,
                max_length=self.settings.max_length,
                named=inputs.named,
            )
            for inputs in groups
        ]

    def _compiled(self, graph: Any, precision: Precision, *, dynamic: bool = False) -> Runtime:
        return runtime_module(self.runtime).compile_graph(graph, precision=precision, dynamic=dynamic)


def _is_dynamic(recipe: Recipe) -> bool:
    return recipe.method is MethodName.DYNAMIC
