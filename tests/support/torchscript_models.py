"""int8 TorchScript folders as optimum-intel 1.x wrote them for Intel Extension for PyTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.models.tokenizer import Tokenizer

# What such a folder has beside the model, in Intel/bge-small-en-v1.5-rag-int8-static and its siblings.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def write_optimum_intel_folder(source: Path, folder: Path, texts: Sequence[str], *, max_length: int = 256) -> Any:
    """Quantize a transformers BertModel by the published recipe, and write what optimum-intel wrote.

    The recipe (fastRAG's README, "Optimizing and quantizing bi-encoders"): INCQuantizer with static
    post-training quantization, backend "ipex", calibrated on texts; underneath, IPEX's static
    quantization and a trace that takes input_ids, attention_mask and token_type_ids. optimum-intel 2
    has dropped it, so those steps are taken here as it took them.

    Args:
        source: A folder with a BERT that transformers can load.
        folder: Where to write.
        texts: What to calibrate on, each alone.
        max_length: The longest text in tokens.

    Returns:
        The fp32 transformers model it was made from.
    """
    import intel_extension_for_pytorch as ipex
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(source, torchscript=True).eval()
    token_ids = Tokenizer(source / "tokenizer.json", max_length=max_length).encode(texts).token_ids
    inputs = [_inputs(ids) for ids in token_ids]
    with torch.no_grad():
        prepared = ipex.quantization.prepare(
            model, ipex.quantization.default_static_qconfig_mapping, example_kwarg_inputs=inputs[0], inplace=False
        )
        for one in inputs:
            prepared(**one)
        converted = ipex.quantization.convert(prepared)
        script = torch.jit.trace(converted, example_kwarg_inputs=inputs[0], strict=False, check_trace=False)
        script = torch.jit.freeze(script)
    write_torchscript_folder(source, folder, script)
    (folder / "inc_config.json").write_text(json.dumps({"quantization": {"approach": "static", "backend": "ipex"}}))
    return model


def write_torchscript_folder(source: Path, folder: Path, script: Any) -> Path:
    """Write a TorchScript encoder with the configuration and tokenizer of its source, and nothing on pooling."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "torchscript": True}))
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    script.save(str(folder / "pytorch_model.bin"))
    return folder


def _inputs(ids: Sequence[int]) -> dict[str, Any]:
    import torch

    row = torch.tensor([list(ids)], dtype=torch.int64)
    return {"input_ids": row, "attention_mask": torch.ones_like(row), "token_type_ids": torch.zeros_like(row)}
