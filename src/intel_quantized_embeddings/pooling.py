"""How the vectors of a text's tokens become one vector."""

from __future__ import annotations

from enum import Enum

from intel_quantized_embeddings.choices import chosen


class Pooling(str, Enum):
    """The pooling modes of sentence-transformers that are built in.

    CLS: the first token's vector. MEAN: the mean over the text's own tokens, padding left out.
    LAST: the last of the text's own tokens, as decoder models use.
    """

    CLS = "cls"
    MEAN = "mean"
    LAST = "last"

    @staticmethod
    def parse(value: str | Pooling) -> Pooling:
        """Turn a user's word into a mode.

        Raises:
            OptionError: It is none of the modes.
        """
        return chosen(Pooling, value, option="pooling")
