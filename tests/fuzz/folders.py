"""Good folders to spoil, one of each kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from fuzz.targets import Folders
from intel_quantized_embeddings import quantize
from intel_quantized_embeddings.architectures.qwen3 import QWEN3
from intel_quantized_embeddings.architectures.tensors import INDEX_FILE, WEIGHTS_FILE
from support.exported_models import write_openvino_export
from support.tiny_models import (
    write_tiny_causal_scorer,
    write_tiny_cross_encoder,
    write_tiny_model,
    write_tiny_router,
    write_tiny_sparse_router,
    write_tiny_static,
)


def write_folders(root: Path) -> Folders:
    """Write them; the int8 one is quantized for OpenVINO."""
    tiny = write_tiny_model(root / "fp32", prompts={"query": "query: ", "document": "document: "})
    int8 = quantize(tiny, root / "int8", runtime="openvino", search=False).folder
    native = quantize(tiny, root / "native").folder
    sharded, exported = (shutil.copytree(tiny, root / name) for name in ("sharded", "exported"))
    (tiny / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    (tiny / "quantize.yaml").write_text("smooth_quant: [0.85, off]\nmax_drop: 0.01\n")
    (sharded / WEIGHTS_FILE).rename(sharded / "model-00001-of-00001.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": {"x": "model-00001-of-00001.safetensors"}}
    (sharded / INDEX_FILE).write_text(json.dumps(index))
    (exported / WEIGHTS_FILE).unlink()
    write_openvino_export(tiny, exported / "openvino_model.xml")
    cross_encoder = write_tiny_cross_encoder(root / "cross-encoder")
    dense = ("Dense", {"out_features": 20, "activation": "activation.Tanh"})
    return Folders(
        fp32=tiny,
        int8=int8,
        native=native,
        sharded=sharded,
        cross_encoder=cross_encoder,
        causal=write_tiny_causal_scorer(root / "causal", family=QWEN3, tokens=(30, 31)),
        exported=exported,
        chain=write_tiny_model(root / "chain", pooling="cls+max", behind=[dense, ("LayerNorm", {}), ("Normalize", {})]),
        static=write_tiny_static(root / "static", model2vec=True),
        router=write_tiny_router(root / "router", prompts={"query": "query: "}),
        sparse_router=write_tiny_sparse_router(root / "sparse_router", as_published=True),
    )
