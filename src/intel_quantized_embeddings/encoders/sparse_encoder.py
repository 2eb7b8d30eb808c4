"""`SparseEncoder`: texts in, sparse vectors out, which are weights of some tokens of the vocabulary."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.encoders.routed import RoutedModel
from intel_quantized_embeddings.encoding.pipeline import DistinctTexts, tokenize_windows
from intel_quantized_embeddings.encoding.sparse import encode_sparse
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.models.sparse import SparseSettings
from intel_quantized_embeddings.models.tokenizer import TokenizedTexts
from intel_quantized_embeddings.options import LoadOptions, SparseKeywords, integer_option, naming_its_options
from intel_quantized_embeddings.quantization.kinds import SPARSE
from intel_quantized_embeddings.reporting.progress import progress_bar
from intel_quantized_embeddings.texts import require_listed, require_token_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array
    from typing_extensions import Unpack

logger = logging.getLogger(__name__)


class SparseEncoder(RoutedModel[SparseSettings]):
    """A loaded sparse model, such as SPLADE. Safe to use from several threads at once.

    A Router is two: OpenSearch's inference-free models look queries up in a table of weights.

    Example:
        >>> encoder = SparseEncoder.load("ibm-granite/granite-embedding-30m-sparse")  # doctest: +SKIP
        >>> vectors = encoder.encode_documents(["The cat sat on the mat."])  # doctest: +SKIP
        >>> encoder.decode(vectors, top_k=3)  # doctest: +SKIP
        [[('cat', 2.1), ('mat', 2.0), ('sat', 1.5)]]
    """

    _kind = SPARSE

    @classmethod
    @naming_its_options
    def load(cls, model: str | os.PathLike[str], **options: Unpack[SparseKeywords]) -> SparseEncoder:
        """Load a model with a masked-LM head, which sentence-transformers' SparseEncoder or transformers wrote.

        BERT, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT and ModernBERT, from safetensors or from a folder that
        `quantize_sparse` wrote; a table of tokens' weights; or a Router of two of these.

        Args:
            model: A folder (fp32 or quantized) or a hub id, as in `Encoder.load`.
            runtime: "native" or "openvino"; None takes what the folder was made for, else "native".
            precision: "int8" or "fp32"; "bf16" with "openvino".
            revision: As in `Encoder.load`, like all that follow.
            cache_folder: Where the hub's files and int8 models are kept.
            local_files_only: Never ask the hub.
            num_threads: Threads for one call.
            instruction_set: Which instructions the native runtime uses.
            max_length: Longest text in tokens; longer ones are cut. None for what the model's folder says.
            query_instruction: Put before every query.
            document_instruction: Put before every document.
            warm_shapes: Run the lengths that one text can be padded to once while loading; see `Encoder.load`.

        Raises:
            OptionError: An argument is not allowed or contradicts the folder.
            ModelFilesError: The model or a file of it is not there.
            DamagedFilesError: A file is not what it should be.
            UnsupportedModelError: The model can't be run here, or is no sparse model.
            MissingExtraError: SciPy is not installed, or what quantizes a model that must be quantized first.
            QuantizationError: Quantizing it failed.
        """
        return cls.from_options(LoadOptions.from_keywords(model, options))

    @property
    def dimension(self) -> int:
        """Numbers in a vector, zeros included: the size of the vocabulary."""
        return self._runtime.dimension

    def encode_documents(
        self, texts: Iterable[str], *, max_active_dims: int | None = None, show_progress: bool = False
    ) -> csr_array:
        """Encode texts to be searched.

        Args:
            texts: Any number of them, from any iterable, which is read while they are encoded. Only the document
                instruction is added to them; identical ones are encoded once.
            max_active_dims: Number of weights that each vector keeps: the largest, and of equal ones those of smaller
                token ids. None for what the model's folder says, which is all as a rule.
            show_progress: Draw a bar on the terminal.

        Returns:
            Weights by token id, in input order. Shape: (n_texts, dimension), float32, none of them below 0 but where a
            table has such ones.

        Raises:
            InvalidTextError: An item is not text; the message names its position.
            OptionError: `max_active_dims` is not an integer of 1 or more.
        """
        encoder = self.for_documents
        return encoder._encode(
            texts, encoder.settings.document_instruction, max_active_dims=max_active_dims, show_progress=show_progress
        )

    def encode_queries(
        self, texts: Iterable[str], *, max_active_dims: int | None = None, show_progress: bool = False
    ) -> csr_array:
        """Encode texts to search with; as `encode_documents`, with the query instruction."""
        encoder = self.for_queries
        return encoder._encode(
            texts, encoder.settings.query_instruction, max_active_dims=max_active_dims, show_progress=show_progress
        )

    def encode(
        self,
        texts: Iterable[str],
        *,
        instruction: str = "",
        max_active_dims: int | None = None,
        show_progress: bool = False,
    ) -> csr_array:
        """Encode texts after the given instruction, "" for none; otherwise as `encode_documents`.

        Of a Router, they go the way that its files name as the default one: as a rule that of documents.
        """
        return self._encode(texts, instruction, max_active_dims=max_active_dims, show_progress=show_progress)

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> csr_array:
        """Encode the results of one call of `tokenize`, or of several; rows are as those of `encode_documents`."""
        require_token_ids(token_ids)
        return encode_sparse(
            self._runtime,
            [token_ids],
            pad_token_id=self._pad_token_id,
            max_length=self.max_length,
            max_active_dims=self.settings.max_active_dims,
        )

    def tokenize(self, texts: Iterable[str], *, instruction: str, cut: str | None = None) -> TokenizedTexts:
        """Tokenize texts for `encode_token_ids`, each after an instruction; see `Encoder.tokenize`."""
        require_listed(texts)
        return self._tokenized(self._cutting(cut).encode(list(texts), instruction=instruction), named="text {}".format)

    def decode(self, vectors: Any, *, top_k: int | None = None) -> list[list[tuple[str, float]]]:
        """Return vectors as tokens and their weights.

        Args:
            vectors: Rows as those of `encode_documents`, one or several, in any form of SciPy's or as an array.
            top_k: Number of tokens returned for each vector, those of the largest weights; None for all.

        Returns:
            A list of (token, weight) for each vector, the largest weight first. A token id that the tokenizer does not
            have, as where a model's vocabulary was filled up to a round number, is in brackets: "[50300]".

        Raises:
            OptionError: `top_k` is not an integer of 1 or more, or `vectors` are not this model's.
        """
        most = integer_option("top_k", top_k, least=1)
        rows = _as_rows(vectors, dimension=self.dimension)
        token_of = self._tokenizer.uncut.id_to_token
        decoded = []
        for places, weights in rows_of(rows):
            order = np.argsort(-weights, kind="stable")[:most]
            kept = zip(places[order].tolist(), weights[order].tolist(), strict=True)
            decoded.append([(token_of(id_) or f"[{id_}]", weight) for id_, weight in kept])
        return decoded

    def __repr__(self) -> str:
        return f"SparseEncoder({self._fingerprint}, dimension={self.dimension}, max_length={self.max_length})"

    def _encode(
        self, texts: Iterable[str], instruction: str, *, max_active_dims: int | None, show_progress: bool
    ) -> csr_array:
        require_listed(texts, expected="a list of strings is expected, as in encode_documents([text])")
        asked = integer_option("max_active_dims", max_active_dims, least=1)
        distinct = DistinctTexts(texts)
        cut = bytearray()
        with (
            progress_bar(texts, shown=show_progress, unit="text", title="Encoding") as advance,
            closing(self._token_ids(distinct, instruction, cut)) as windows,
        ):
            vectors = encode_sparse(
                self._runtime,
                windows,
                pad_token_id=self._pad_token_id,
                max_length=self.max_length,
                on_progress=advance,
                named=distinct.named,
                max_active_dims=self.settings.max_active_dims if asked is None else asked,
            )
            if advance is not None:
                advance(len(distinct.rows) - vectors.shape[0])
        if any(cut):
            logger.warning(
                "%d of %d texts are longer than %d tokens; what is beyond was cut",
                sum(cut[row] for row in distinct.rows),
                len(distinct.rows),
                self.max_length,
            )
        return vectors if vectors.shape[0] == len(distinct.rows) else vectors[np.asarray(distinct.rows)]

    def _token_ids(
        self, texts: Iterable[str], instruction: str, cut: bytearray
    ) -> Generator[list[list[int]], None, None]:
        """Return token ids window by window; `cut` gets a byte for every text, 1 for those that were cut."""
        with closing(tokenize_windows(texts, self._tokenizer, instruction=instruction)) as windows:
            for window in windows:
                cut.extend(place in window.truncated for place in range(len(window.token_ids)))
                yield window.token_ids


def _as_rows(vectors: Any, *, dimension: int) -> csr_array:
    """Return vectors of any form as rows; others than a model's are an OptionError."""
    from scipy.sparse import csr_array, issparse

    rows = vectors if issparse(vectors) else np.asarray(vectors)
    if rows.ndim == 1:
        rows = rows.reshape(1, -1)
    if rows.ndim != 2 or rows.shape[1] != dimension or rows.dtype.kind != "f":
        raise OptionError(
            f"vectors of shape {rows.shape} and type {rows.dtype} are not this model's, which are of {dimension} "
            f"numbers."
        )
    return csr_array(rows)


def rows_of(vectors: csr_array) -> Generator[tuple[NDArray[np.int32], NDArray[np.float32]], None, None]:
    """Yield the token ids of each sparse vector, in ascending order, and their weights."""
    for start, end in zip(vectors.indptr, vectors.indptr[1:], strict=False):
        yield vectors.indices[start:end], vectors.data[start:end]


def weights_of(vectors: csr_array) -> list[dict[int, float]]:
    """Return each sparse vector as {token id: weight}."""
    return [dict(zip(places.tolist(), weights.tolist(), strict=True)) for places, weights in rows_of(vectors)]
