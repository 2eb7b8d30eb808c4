"""The models that are known by name: each is built in tiny, and is used as the table says."""

from __future__ import annotations

import json
import os
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, SparseEncoder
from intel_quantized_embeddings.architectures.table import architecture_of
from intel_quantized_embeddings.errors import ModelFilesError
from intel_quantized_embeddings.models.known import look_up
from intel_quantized_embeddings.models.known_models import KNOWN_CROSS_ENCODERS, KNOWN_MODELS, KNOWN_SPARSE
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.models.sparse import SparseHead
from intel_quantized_embeddings.options import Pooling
from support.tiny_models import (
    write_tiny_cross_encoder,
    write_tiny_model,
    write_tiny_sparse,
    write_tiny_sparse_router,
    write_tiny_static,
)

LISTED = {model: (known, listed) for known in KNOWN_MODELS for model, listed in known.models.items()}


@pytest.fixture(scope="module")
def tiny_of(tmp_path_factory):
    """Write a tiny model of an architecture that says neither how it pools nor what texts begin with, once."""
    written = {}

    def write(architecture, write_model, **options):
        key = (architecture, write_model, str(options))
        if key not in written:
            folder = tmp_path_factory.mktemp(architecture) / "model"
            write_model(folder, family=architecture_of({"model_type": architecture}), **options)
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | {"model_type": architecture}))
            written[key] = folder
        return written[key]

    return write


@pytest.fixture(scope="module")
def told():
    """Fingerprints of models that were told how to pool and what texts begin with, by all that they depend on."""
    return {}


@pytest.mark.parametrize("model", LISTED)
def test_each_embedder_runs_as_the_table_says(model, tiny_of, told, tmp_path):
    known, listed = LISTED[model]
    instructions = {"query_instruction": known.query_instruction, "document_instruction": known.document_instruction}
    options = {"precision": "fp32", "warm_shapes": False}
    named = tmp_path / model.replace("/", "_")
    if listed.architecture == "static":  # its mean is no gap to be filled in
        found = Encoder.load(write_tiny_static(named), **options)
    else:
        chain = {"pooling": known.pooling.value, "behind": [("Dense", {})]} if known.behind else {"pooling": None}
        folder = tiny_of(listed.architecture, write_tiny_model, **chain)
        shutil.copytree(folder, named, copy_function=os.link)
        found = Encoder.load(named, **options)
        key = (folder, known.pooling.value, *instructions.values())
        if key not in told:
            pooling = None if known.behind else known.pooling.value
            told[key] = Encoder.load(folder, pooling=pooling, **instructions, **options).fingerprint
        assert found.fingerprint == told[key]
    for encode, instruction in zip((found.encode_queries, found.encode_documents), instructions.values(), strict=True):
        assert np.array_equal(encode(["a cat"]), found.encode(["a cat"], instruction=instruction))


@pytest.mark.parametrize("model", ["Xenova/LaBSE", "MongoDB/mdbr-leaf-ir", "google/embeddinggemma-300m"])
def test_a_name_makes_not_up_for_modules_behind_the_pooling(model, tiny_of):
    folder = tiny_of("bert", write_tiny_model, pooling=None)
    with pytest.raises(ModelFilesError, match=r"its pooling is followed by (a|two) Dense modules?, without"):
        read_settings(folder, name=model)
    assert read_settings(folder, name=model, pooling="max").pooling is Pooling.MAX


def test_each_is_of_one_family_alone():
    """The order of the table does not matter."""
    for model, (family, _) in LISTED.items():
        name = model.split("/")[1].lower()
        assert [known for known in KNOWN_MODELS if re.fullmatch(known.pattern, name)] == [family], model
        assert look_up([model]) is family


def test_shorter_vectors_ascend_to_the_whole():
    for _, listed in LISTED.values():
        sizes = (0, *listed.shorter, listed.dimension)
        assert all(less < more for less, more in pairwise(sizes))


@pytest.mark.parametrize("model", KNOWN_SPARSE)
def test_each_sparse_model_runs(model, tmp_path):
    """In the form in which it is published: the documents' model of OpenSearch's is in the Router's own folder."""
    pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")
    listed = KNOWN_SPARSE[model]
    family = architecture_of({"model_type": listed.architecture})
    if listed.queries == "table":
        folder = write_tiny_sparse_router(tmp_path / "model", family=family, as_published=True)
    else:
        folder = write_tiny_sparse(tmp_path / "model", family=family)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": listed.architecture}))
    encoder = SparseEncoder.load(folder, precision="fp32", warm_shapes=False)
    assert encoder.encode_documents(["a cat"]).nnz > 0
    looked_up = encoder.for_queries.settings.head is SparseHead.TABLE
    assert looked_up is (listed.queries == "table")
    assert listed.queries in ("table", "layers")
    assert look_up([model]) is None


@pytest.mark.parametrize("model", KNOWN_CROSS_ENCODERS)
def test_each_cross_encoder_runs(model, tiny_of):
    folder = tiny_of(KNOWN_CROSS_ENCODERS[model].architecture, write_tiny_cross_encoder)
    scores = CrossEncoder.load(folder, precision="fp32", warm_shapes=False).score([("a cat", "the dog")])
    assert scores.shape == (1,)
    assert look_up([model]) is None
