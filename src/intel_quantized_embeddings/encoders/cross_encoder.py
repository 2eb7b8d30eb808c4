"""`CrossEncoder`: pairs of texts in, scores out."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from intel_quantized_embeddings.encoders.loaded import LoadedModel
from intel_quantized_embeddings.encoding.pipeline import encode_token_ids, tokenize_pair_windows
from intel_quantized_embeddings.errors import InvalidTextError
from intel_quantized_embeddings.models.scoring import CrossEncoderSettings
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts
from intel_quantized_embeddings.options import LoadOptions, ScoringKeywords, naming_its_options
from intel_quantized_embeddings.quantization.kinds import CROSS_ENCODER
from intel_quantized_embeddings.reporting.progress import progress_bar
from intel_quantized_embeddings.texts import require_listed, shown, utf8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


class CrossEncoder(LoadedModel[CrossEncoderSettings]):
    """A loaded model that reads a query and a document together. Safe to use from several threads at once.

    Example:
        >>> model = CrossEncoder.load("cross-encoder/ms-marco-MiniLM-L6-v2")  # doctest: +SKIP
        >>> model.score([("what is int8?", "An integer of 8 bits.")])  # doctest: +SKIP
    """

    _kind = CROSS_ENCODER

    @classmethod
    @naming_its_options
    def load(cls, model: str | os.PathLike[str], **options: Unpack[ScoringKeywords]) -> CrossEncoder:
        """Load a model whose `config.json` names a sequence classifier with one label, or that has a LogitScore.

        BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT, MPNet, Electra, JinaBERT, ModernBERT, GTE, Qwen3 and
        Llama, from safetensors or from a folder that `quantize_cross_encoder` wrote.

        Args:
            model: A folder (fp32 or quantized) or a hub id, as in `Encoder.load`.
            runtime: "native" or "openvino"; None takes what the folder was made for, else "native".
            precision: "int8" or "fp32"; "bf16" with "openvino".
            revision: As in `Encoder.load`, like all that follow.
            cache_folder: Where the hub's files and int8 models are kept.
            local_files_only: Never ask the hub.
            num_threads: Threads for one call.
            instruction_set: Which instructions the native runtime uses.
            max_length: Longest pair in tokens; of a longer one, the longer text is cut. None takes the
                folder's.
            warm_shapes: Run the lengths that one pair can be padded to once while loading; see `Encoder.load`.

        Raises:
            OptionError: An argument is not allowed or contradicts the folder.
            ModelFilesError: The model or a file of it is not there.
            DamagedFilesError: A file is not what it should be.
            UnsupportedModelError: The model can't be run here, or does not give one score.
            MissingExtraError: The model must be quantized first and what quantizes it is not installed.
            QuantizationError: Quantizing it failed.
        """
        return cls.from_options(LoadOptions.from_keywords(model, options))

    def score(self, pairs: Iterable[tuple[str, str]], show_progress: bool = False) -> NDArray[np.float32]:
        """Score how well each document answers its query.

        Args:
            pairs: A query and a document each, any number of them, from any iterable. Neither is altered; of a pair
                that is too long, the longer text is cut.
            show_progress: Draw a bar on the terminal.

        Returns:
            Scores in input order, the higher the better, through the activation that the model's folder names: from
            0 to 1 for a sigmoid (if the folder names none, too), any number for Identity. Shape: (n_pairs,), float32.

        Raises:
            InvalidTextError: An item is not a pair of texts; the message names its position.
        """
        _require_listed(pairs)
        cut = bytearray()
        with (
            progress_bar(pairs, shown=show_progress, unit="pair", title="Scoring") as advance,
            closing(self._token_ids(pairs, cut)) as windows,
        ):
            scores = encode_token_ids(
                self._runtime,
                windows,
                pad_token_id=self._pad_token_id,
                max_length=self.max_length,
                on_progress=advance,
                named="pair {}".format,
            )[:, 0]
        if any(cut):
            logger.warning(
                "%d of %d pairs are longer than %d tokens; what is beyond was cut", sum(cut), len(cut), self.max_length
            )
        return self._settings.activation.apply(scores)

    def tokenize(self, pairs: Iterable[tuple[str, str]], *, cut: str | None = None) -> TokenizedTexts:
        """Tokenize pairs for `encode_token_ids`, for callers that must know the lengths of pairs before scoring them.

        Args:
            pairs: A query and a document each.
            cut: The end at which the longer text of a pair that is too long is cut; as in `Encoder.tokenize`.

        Raises:
            InvalidTextError: An item is not a pair of texts; the message names its position.
        """
        _require_listed(pairs)
        encoded = self._cutting(cut).encode_pairs(list(_checked(pairs)), second_text=self._second_text)
        return self._tokenized(encoded, named="pair {}".format)

    def __repr__(self) -> str:
        return f"CrossEncoder({self._fingerprint}, max_length={self.max_length})"

    def _token_ids(self, pairs: Iterable[tuple[str, str]], cut: bytearray) -> Generator[list[list[int]], None, None]:
        """Return token ids window by window; `cut` gets a byte for every pair, 1 for those that were cut."""
        tokenized = tokenize_pair_windows(_checked(pairs), self._tokenizer, second_text=self._second_text)
        with closing(tokenized) as windows:
            for window in windows:
                cut.extend(place in window.truncated for place in range(len(window.token_ids)))
                yield window.token_ids


def _require_listed(pairs: object) -> None:
    require_listed(
        pairs, what="pairs", expected="a list of (query, document) is expected, as in score([(query, document)])"
    )


def _checked(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield pairs of texts; anything else is an InvalidTextError that names its position."""
    for position, pair in enumerate(pairs):
        if isinstance(pair, str) or not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise InvalidTextError(f"pair {position} is {shown(pair)}; a (query, document) of two texts is expected.")
        for text, what in zip(pair, ("query", "document"), strict=True):
            utf8(text, position=position, kind=f"the {what} of pair")
        yield pair[0], pair[1]
