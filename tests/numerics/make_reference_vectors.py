"""Write reference_vectors.json. Run in the reference environment: python tests/numerics/make_reference_vectors.py."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from sentence_transformers import SentenceTransformer

from intel_quantized_embeddings.models.hub import MINILM, MINILM_SHA256, find_model

TEXTS = [
    "What is static quantization?",
    "",
    "naïve café, 東京, 🙂 and [SEP] in the middle",
    "line one\nline two\ttabbed",
    "The mitochondrion makes most of a cell's ATP. " * 30,
]

if __name__ == "__main__":
    vectors = SentenceTransformer(str(find_model(MINILM).path), device="cpu").encode(TEXTS)
    content = {
        "model": MINILM,
        "weights_sha256": MINILM_SHA256,
        "made_by": {name: version(name) for name in ("sentence-transformers", "transformers", "torch", "tokenizers")},
        "texts": TEXTS,
        "vectors": [[round(float(x), 7) for x in row] for row in vectors],
    }
    target = Path(__file__).parent / "reference_vectors.json"
    target.write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")
