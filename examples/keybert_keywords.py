"""Name the keywords of texts with KeyBERT on an int8 model.

    python examples/keybert_keywords.py
    python examples/keybert_keywords.py notes.txt --model BAAI/bge-small-en-v1.5

KeyBERT accepts a SentenceTransformer or a backend of its own class, and takes the hub's default model, without a
word, for anything else: so the backend below. BERTopic's is the same with `from bertopic.backend import BaseEmbedder`.
Needs `pip install -e . keybert`, which brings torch; KeyBERT also works without it:
`pip install -e . scikit-learn rich && pip install --no-deps keybert`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from keybert import KeyBERT
    from keybert.backend import BaseEmbedder

    from intel_quantized_embeddings import Encoder
    from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
    from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer
except ImportError as exc:
    sys.exit(f"error: {exc}. This example needs: pip install -e . keybert")

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = (
    "Bees live in hives, where they turn the nectar of flowers into honey. A colony of honeybees has one queen.",
    "Interest rates fell last month, so more people asked their bank for a mortgage to buy a house.",
)


class Backend(BaseEmbedder):
    """Embeds documents and candidate keywords for KeyBERT."""

    def __init__(self, model: IntelQuantizedSentenceTransformer) -> None:
        super().__init__(embedding_model=model)

    def embed(self, documents: Sequence[str], verbose: bool = False) -> NDArray[np.float32]:
        """Embed texts, one vector each."""
        return self.embedding_model.encode(list(documents), show_progress_bar=verbose)


def keywords(texts: Sequence[str], model: IntelQuantizedSentenceTransformer, *, most: int) -> list[list[str]]:
    """The phrases of one and two words nearest to each text, best first."""
    found = KeyBERT(model=Backend(model)).extract_keywords(
        list(texts), keyphrase_ngram_range=(1, 2), stop_words="english", use_mmr=True, top_n=most
    )
    listed = found if len(texts) > 1 else [found]  # KeyBERT unwraps a single text's
    return [[phrase for phrase, _ in phrases] for phrases in listed]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description="Name the keywords of texts with KeyBERT on an int8 model.")
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="a text file; two short texts without it")
    parser.add_argument("--model", default=MODEL, help="a hub id or a folder, fp32 or already int8 (%(default)s)")
    parser.add_argument("--most", metavar="N", type=int, default=4, help="keywords of a text (%(default)s)")
    options = parser.parse_args(argv)
    try:
        texts = TEXTS if options.file is None else (options.file.read_text("utf-8"),)
        model = IntelQuantizedSentenceTransformer(Encoder.load(options.model))
        for text, phrases in zip(texts, keywords(texts, model, most=options.most), strict=True):
            print(f"{text[:60].strip()}...\n    {', '.join(phrases)}")
    except (QuantizedEmbeddingsError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
