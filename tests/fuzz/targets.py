"""What reads files of others, each as a function of one file's bytes.

Only this package's own errors may come out of a target, or nothing. A folder is good but for the one file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intel_quantized_embeddings import CrossEncoder, Encoder, SparseEncoder
from intel_quantized_embeddings.architectures import EncoderConfig, load_weights
from intel_quantized_embeddings.cli.inspection import inspect_folder
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
from intel_quantized_embeddings.files.json_files import read_json
from intel_quantized_embeddings.int8_folder.config import read_config
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.runtimes.native import NativeRuntime
from intel_quantized_embeddings.runtimes.native_folder import read_native

TEXTS = ["the cat sat", "", "\0 \u202e\U0001f1e9\u0301", "a" * 200]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A file that is fuzzed.

    Attributes:
        file: Its path in the folder.
        kind: Which of `Folders` it lies in.
        read: Reads the folder.
    """

    file: str
    kind: str
    read: Callable[[Path], object]


@dataclass(frozen=True)
class Folders:
    """A good folder of each kind."""

    fp32: Path
    int8: Path
    native: Path
    sharded: Path
    cross_encoder: Path
    causal: Path
    exported: Path
    chain: Path
    static: Path
    router: Path
    sparse_router: Path

    def copy(self, target: Target, to: Path) -> Path:
        """A folder for one target to spoil."""
        shutil.copytree(getattr(self, target.kind), to)
        return to


def run(target: Target, folder: Path, content: bytes) -> None:
    """Read a folder with this content in the target's file.

    Raises:
        Exception: What must not come out: of another library or a mistake here.
    """
    (folder / target.file).write_bytes(content)
    with suppress(QuantizedEmbeddingsError):
        target.read(folder)


def _encodes(folder: Path, *, precision: str = "fp32") -> None:
    encoder = Encoder.load(folder, precision=precision, num_threads=1, warm_shapes=False)
    assert np.isfinite(encoder.encode_documents(TEXTS)).all(), "not finite"


def _sparse(folder: Path) -> None:
    encoder = SparseEncoder.load(folder, precision="fp32", num_threads=1, warm_shapes=False)
    for vectors in (encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)):
        assert np.isfinite(vectors.data).all(), "not finite"


def _native(folder: Path) -> None:
    """Without its manifest, whose hashes would refuse every change: as one who means harm writes a folder."""
    rows = NativeRuntime(read_native(folder / "encoder.safetensors"), num_threads=1).run_ragged([[1, 2, 3], [4] * 20])
    assert rows.shape[0] == 2


def _scores(folder: Path) -> None:
    model = CrossEncoder.load(folder, precision="fp32", num_threads=1, warm_shapes=False)
    assert np.isfinite(model.score([(text, text) for text in TEXTS])).all(), "not finite"


def _weights(folder: Path) -> None:
    load_weights(folder, EncoderConfig.from_hf(read_json(folder / "config.json"), where="the folder"))


def _tokenizer(folder: Path) -> None:
    Tokenizer(folder / "tokenizer.json", max_length=16).encode(TEXTS)


def _info(folder: Path) -> None:
    inspect_folder(str(folder))


TARGETS = {
    "config": Target(file="config.json", kind="fp32", read=_encodes),
    "modules": Target(file="modules.json", kind="fp32", read=_encodes),
    "pooling": Target(file="1_Pooling/config.json", kind="fp32", read=_encodes),
    "chain": Target(file="modules.json", kind="chain", read=_encodes),
    "dense": Target(file="2_Dense/config.json", kind="chain", read=_encodes),
    "dense-weights": Target(file="2_Dense/model.safetensors", kind="chain", read=_encodes),
    "static-modules": Target(file="modules.json", kind="static", read=_encodes),
    "static-table": Target(file="model.safetensors", kind="static", read=_encodes),
    "static-tokenizer": Target(file="tokenizer.json", kind="static", read=_encodes),
    "router": Target(file="router_config.json", kind="router", read=_encodes),
    "sparse-router": Target(file="router_config.json", kind="sparse_router", read=_sparse),
    "weight-table": Target(file="query_0_SparseStaticEmbedding/model.safetensors", kind="sparse_router", read=_sparse),
    "prompts": Target(file="config_sentence_transformers.json", kind="fp32", read=_encodes),
    "lengths": Target(file="sentence_bert_config.json", kind="fp32", read=_encodes),
    "tokenizer-config": Target(file="tokenizer_config.json", kind="fp32", read=_encodes),
    "tokenizer": Target(file="tokenizer.json", kind="fp32", read=_tokenizer),
    "tokenizer-in-use": Target(file="tokenizer.json", kind="fp32", read=_encodes),
    "safetensors": Target(file="model.safetensors", kind="fp32", read=_weights),
    "weight-index": Target(file="model.safetensors.index.json", kind="sharded", read=_weights),
    "manifest": Target(file="manifest.json", kind="int8", read=lambda folder: _encodes(folder, precision="int8")),
    "info": Target(file="manifest.json", kind="int8", read=_info),
    "cross-encoder-config": Target(file="config.json", kind="cross_encoder", read=_scores),
    "next-token": Target(file="1_LogitScore/config.json", kind="causal", read=_scores),
    "chat": Target(file="sentence_bert_config.json", kind="causal", read=_scores),
    "chat-template": Target(file="tokenizer_config.json", kind="causal", read=_scores),
    "native-weights": Target(file="encoder.safetensors", kind="native", read=_native),
    "native-description": Target(file="encoder.json", kind="native", read=_native),
    "openvino": Target(file="openvino_model.xml", kind="exported", read=_encodes),
    "quantization-config": Target(
        file="quantize.yaml", kind="fp32", read=lambda folder: read_config(folder / "quantize.yaml")
    ),
}
