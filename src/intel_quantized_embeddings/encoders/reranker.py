"""`Reranker`: puts the documents that a first search found in a better order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from intel_quantized_embeddings.encoders.cross_encoder import CrossEncoder
from intel_quantized_embeddings.encoders.encoder import Encoder
from intel_quantized_embeddings.errors import InvalidTextError
from intel_quantized_embeddings.models.hub import find_asked
from intel_quantized_embeddings.options import LoadKeywords, LoadOptions, integer_option, naming_its_options
from intel_quantized_embeddings.texts import check_texts, require_listed, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedDocument:
    """One of the documents that were ranked.

    Attributes:
        index: Its place among the given documents.
        score: The higher the better: a bi-encoder's similarity (its folder's, else the cosine), or a cross-encoder's
            score.
    """

    index: int
    score: float


class Reranker:
    """Ranks documents by a model's score of each for a query. Safe to use from several threads at once.

    A bi-encoder (`Encoder`) embeds query and documents apart and compares the vectors as it was trained to, by cosine
    or dot product: fast. A cross-encoder (`CrossEncoder`) reads each document together with the query: slower, and as
    a rule better.

    Example:
        >>> reranker = Reranker.load("BAAI/bge-reranker-base")  # doctest: +SKIP
        >>> reranker.rank("Where does it end?", ["In the sea.", "On Mars."], top_n=1)  # doctest: +SKIP
        [RankedDocument(index=0, score=...)]
    """

    def __init__(self, model: Encoder | CrossEncoder) -> None:
        """Rank with a loaded model; `Reranker.load` loads either."""
        self._model = model

    @classmethod
    @naming_its_options
    def load(cls, model: str | os.PathLike[str], **options: Unpack[LoadKeywords]) -> Reranker:
        """Load a bi-encoder or a cross-encoder, whichever the model is.

        It is a cross-encoder where its `config.json` names a sequence classifier (`architectures`) and it has no
        pooling, else a bi-encoder.

        Args:
            model: A folder (fp32 or quantized) or a hub id.
            options: Those of `Encoder.load`. `max_length` is that of a text, or a pair of texts. A cross-encoder
                refuses `pooling`, `normalize`, `truncate_dim` and instructions. `normalize` turns a dot product into a
                cosine, and changes nothing if the similarity is the cosine.

        Raises:
            QuantizedEmbeddingsError: As `Encoder.load` and `CrossEncoder.load` list them.
        """
        checked = LoadOptions.from_keywords(model, options)
        return cls(kind_of_model(checked).from_options(checked))

    @property
    def model(self) -> Encoder | CrossEncoder:
        """The model that it ranks with."""
        return self._model

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Score every document.

        Args:
            query: The text to search for.
            documents: The texts to score.

        Returns:
            In the order of the documents, the higher the better. Shape: (n_documents,), float32.

        Raises:
            InvalidTextError: Something is not text; for a document the message names its position.
        """
        if not isinstance(query, str):
            raise InvalidTextError(f"query is {shown(query)} of type {type(query).__name__}; it must be a str.")
        require_listed(documents, what="documents")
        listed = list(documents)
        check_texts(listed)
        if isinstance(self._model, CrossEncoder):
            return self._model.score((query, document) for document in listed)
        vector = self._model.encode_queries([query])[0]
        return self._model.settings.similarity.to_documents(vector, self._model.encode_documents(listed))

    def rank(self, query: str, documents: Sequence[str], *, top_n: int | None = None) -> list[RankedDocument]:
        """Put documents in order, the best first; equal scores keep their order.

        Args:
            query: The text to search for.
            documents: The texts to order.
            top_n: How many to return; None returns all.

        Raises:
            InvalidTextError: Something is not text.
            OptionError: `top_n` is not an integer of 1 or more.
        """
        most = integer_option("top_n", top_n, least=1)
        scores = self.score(query, documents)
        order = np.argsort(-scores, kind="stable")[:most]
        return [RankedDocument(index=int(place), score=float(scores[place])) for place in order]

    def __repr__(self) -> str:
        return f"Reranker({self._model!r})"


def kind_of_model(options: LoadOptions) -> type[Encoder | CrossEncoder]:
    """Return the class of a model, one of the two; see `Reranker.load`."""
    source = find_asked(options)
    return CrossEncoder if source.is_cross_encoder else Encoder
