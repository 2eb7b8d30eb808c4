"""fp32 vectors against sentence-transformers' own, stored with where they came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from intel_quantized_embeddings import Encoder


def test_minilm_in_fp32_gives_the_stored_vectors(minilm, runtime):
    stored = json.loads((Path(__file__).parent / "reference_vectors.json").read_text("utf-8"))
    vectors = Encoder.load(minilm, runtime=runtime, precision="fp32", warm_shapes=False).encode_documents(
        stored["texts"]
    )
    assert np.abs(vectors - np.array(stored["vectors"])).max() <= 1e-4


def test_minilm_in_int8_is_close_to_the_stored_vectors(minilm_int8, runtime):
    stored = json.loads((Path(__file__).parent / "reference_vectors.json").read_text("utf-8"))
    vectors = Encoder.load(minilm_int8, runtime=runtime, warm_shapes=False).encode_documents(stored["texts"])
    cosines = np.einsum("nd,nd->n", vectors, np.array(stored["vectors"]))
    # The empty text, two special tokens and nothing between, is the furthest from anything calibrated on.
    floors = np.array([0.99 if text else 0.95 for text in stored["texts"]])
    assert (cosines >= floors).all(), cosines
