"""The cross-encoder being quantized: its fp32 graph, its pairs, and the scores that every attempt is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.cross_encoder_settings import CrossEncoderSettings
from intel_quantized_embeddings.model_files import TOKENIZER_FILE, ModelFolder
from intel_quantized_embeddings.pipeline import encode_token_ids
from intel_quantized_embeddings.quantization.calibration import CalibrationSplit
from intel_quantized_embeddings.quantization.config import MethodName
from intel_quantized_embeddings.quantization.fidelity import ScoreFidelity, summarize_scores
from intel_quantized_embeddings.quantization.pairs import pairs_of
from intel_quantized_embeddings.quantization.probes import COUNT_OF_SCORES, LONGEST, Probe, choose
from intel_quantized_embeddings.quantization.recipe import Recipe
from intel_quantized_embeddings.quantization.table import quantizer_module
from intel_quantized_embeddings.runtimes.base import CrossEncoderGraph, Precision, RuntimeName
from intel_quantized_embeddings.runtimes.table import runtime_module
from intel_quantized_embeddings.tokenization import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEncoderAttempt:
    """A quantized graph, how it was made, and how faithful it is on the held-out pairs.

    Attributes:
        scores: Of the held-out pairs, before any activation. Shape: (n_pairs,).
    """

    graph: Any
    recipe: Recipe
    fidelity: ScoreFidelity
    scores: NDArray[np.float32]


class CrossEncoderSubject:
    """The model being quantized, its calibration pairs tokenized, and its fp32 scores of the held-out ones.

    Attributes:
        source: Where it is from.
        runtime: Which runtime it is quantized for.
        built: Its graph in fp32.
        settings: Maximum length and activation.
        texts: Those that the pairs are made of.
        calibrated: Pairs to calibrate on.
        held_out: Pairs to measure.
    """

    def __init__(
        self, source: ModelFolder, *, built: CrossEncoderGraph, settings: CrossEncoderSettings, texts: CalibrationSplit
    ) -> None:
        self.source, self.built, self.settings, self.texts = source, built, settings, texts
        self.runtime = RuntimeName.OPENVINO
        tokenizer = Tokenizer(
            source.path / TOKENIZER_FILE, max_length=settings.max_length, lowercase=settings.lowercase
        )
        self._calibrated, self._held_out = (
            tokenizer.encode_pairs(pairs_of(half), second_text=built.second_text).token_ids
            for half in (texts.calibrated, texts.held_out)
        )
        self.calibrated, self.held_out = len(self._calibrated), len(self._held_out)
        self._fp32 = self._scores(built.embedder.graph, self._held_out, Precision.FP32)

    def attempt(self, recipe: Recipe) -> CrossEncoderAttempt:
        """Quantize it in one way and compare it with fp32.

        Raises:
            QuantizationError: The quantizer failed.
        """
        token_ids: Sequence[Sequence[int]] = self._calibrated
        graph = quantizer_module(self.runtime).quantize_graph(self.built.embedder, token_ids, recipe)
        int8 = self._scores(graph, self._held_out, Precision.INT8, dynamic=recipe.method is MethodName.DYNAMIC)
        fidelity = summarize_scores(self._fp32, int8)
        return CrossEncoderAttempt(graph=graph, recipe=recipe, fidelity=fidelity, scores=int8)

    def probes(self, attempt: CrossEncoderAttempt) -> tuple[Probe, ...]:
        """Return held-out pairs with their scores in fp32 and in an attempt.

        Where too few pairs are short, the beginnings of some are scored for this.
        """
        token_ids, fp32, int8 = self._held_out, self._fp32, attempt.scores
        places: Sequence[int] = choose(token_ids, count=COUNT_OF_SCORES)
        if len(places) < min(COUNT_OF_SCORES, len(token_ids)):
            token_ids = [ids[:LONGEST] for ids in token_ids[:COUNT_OF_SCORES]]
            fp32 = self._scores(self.built.embedder.graph, token_ids, Precision.FP32)
            dynamic = attempt.recipe.method is MethodName.DYNAMIC
            int8 = self._scores(attempt.graph, token_ids, Precision.INT8, dynamic=dynamic)
            places = range(len(token_ids))
        return tuple(
            Probe.of(token_ids[place], fp32=fp32[place : place + 1], int8=int8[place : place + 1]) for place in places
        )

    def _scores(
        self, graph: Any, token_ids: Sequence[Sequence[int]], precision: Precision, *, dynamic: bool = False
    ) -> NDArray[np.float32]:
        """Before any activation. Shape: (n_pairs,)."""
        compiled = runtime_module(self.runtime).compile_graph(graph, precision=precision, dynamic=dynamic)
        return encode_token_ids(
            compiled,
            [token_ids],
            pad_token_id=self.built.embedder.pad_token_id,
            max_length=self.settings.max_length,
            named="the held-out pair {}".format,
        )[:, 0]
