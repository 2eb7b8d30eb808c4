"""Model files that other libraries need: exported, quantized and kept, so that only a first run makes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.gguf import write_gguf
from intel_quantized_embeddings.benchmarks.loaded import Request
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.models.tokenizer_files import BESIDE
from intel_quantized_embeddings.quantization.calibration import built_in_texts, split

INT8_FILE = "openvino_model_qint8_quantized.xml"
ONNX_FILE = "model.onnx"
GGUF_FILE = "model-q8_0.gguf"
_TOKENIZER_FILES = ("config.json", "tokenizer.json", *BESIDE)
ONNX_OPSET = 18


def openvino_fp32(request: Request) -> Path:
    """The model as optimum-intel exports it, in sentence-transformers' layout."""
    from intel_quantized_embeddings.models.export import export

    return _made_once(request.kept / "openvino-fp32", lambda folder: export(request.model, folder))


def openvino_int8(request: Request) -> Path:
    """That, quantized with the settings of sentence-transformers and optimum-intel and calibrated on our texts.

    The file lies beside the fp32 one, as `export_static_quantized_openvino_model` leaves it; that function
    itself is not called because it fetches its texts from the hub and pads every one to 384 tokens.
    """
    source = openvino_fp32(request)

    def make(folder: Path) -> None:
        with atomic_folder(folder, overwrite=False) as made:
            shutil.copytree(source, made, dirs_exist_ok=True)
            _quantize(made / "openvino" / "openvino_model.xml", made / "openvino" / INT8_FILE, request)

    return _made_once(request.kept / "openvino-int8", make)


def genai_int8(request: Request) -> Path:
    """The same int8 graph in the layout of openvino-genai, its tokenizer converted to a graph too."""
    source = openvino_int8(request)

    def make(folder: Path) -> None:
        import openvino as ov
        from openvino_tokenizers import convert_tokenizer
        from transformers import AutoTokenizer

        with atomic_folder(folder, overwrite=False) as made:
            for suffix in (".xml", ".bin"):
                shutil.copyfile(
                    (source / "openvino" / INT8_FILE).with_suffix(suffix), (made / "openvino_model").with_suffix(suffix)
                )
            _copy_tokenizer(request, made)
            tokenizer = AutoTokenizer.from_pretrained(str(made))
            ov.save_model(convert_tokenizer(tokenizer, with_detokenizer=False), str(made / "openvino_tokenizer.xml"))

    return _made_once(request.kept / "genai-int8", make)


def onnx_fp32(request: Request) -> Path:
    """The model as ONNX in fp32, which fastembed runs, ending in its last hidden state."""

    def make_model(folder: Path) -> None:
        with atomic_folder(folder, overwrite=False) as made:
            _export_onnx(request.model, made / ONNX_FILE)

    exported = _made_once(request.kept / "onnx-fp32", make_model)

    def make(folder: Path) -> None:
        with atomic_folder(folder, overwrite=False) as made:
            shutil.copytree(exported, made, dirs_exist_ok=True)
            _copy_tokenizer(request, made)

    # fastembed reads the maximum length from the folder.
    return _made_once(request.kept / f"fastembed-{request.max_length}", make)


def gguf_q8_0(request: Request) -> Path:
    """The model as a GGUF file, linear layers and words in q8_0, which llama.cpp runs."""

    def make(folder: Path) -> None:
        with atomic_folder(folder, overwrite=False) as made:
            write_gguf(request.model, made / GGUF_FILE, pooling=request.pooling)

    return _made_once(request.kept / "gguf-q8_0", make) / GGUF_FILE


def _made_once(folder: Path, make: Callable[[Path], object]) -> Path:
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        make(folder)
    return folder


def _copy_tokenizer(request: Request, folder: Path) -> None:
    """Copy what a tokenizer is read from: cutting at the maximum length, and padding to the longest only."""
    from tokenizers import Tokenizer

    for name in _TOKENIZER_FILES:
        if (request.model / name).is_file():
            shutil.copyfile(request.model / name, folder / name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    config["model_max_length"] = request.max_length
    config.pop("max_length", None)
    pad_token_id = json.loads((request.model / "config.json").read_text("utf-8")).get("pad_token_id") or 0
    config.setdefault("pad_token", tokenizer.id_to_token(pad_token_id))
    file.write_text(json.dumps(config), "utf-8")


def _quantize(source: Path, target: Path, request: Request) -> None:
    import nncf
    import numpy as np
    import openvino as ov

    from intel_quantized_embeddings.models.tokenizer import Tokenizer

    graph = ov.Core().read_model(str(source))
    names = {name for entry in graph.inputs for name in entry.get_names()}
    calibrated = split(built_in_texts()).calibrated
    tokenizer = Tokenizer(request.model / "tokenizer.json", max_length=request.own_length)

    def inputs(ids: list[int]) -> dict[str, Any]:
        row = np.array([ids], dtype=np.int64)
        filled = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        return {name: values for name, values in filled.items() if name in names}

    listed = [inputs(ids) for ids in tokenizer.encode([*calibrated.documents, *calibrated.queries]).token_ids]
    quantized = nncf.quantize(
        graph, nncf.Dataset(listed), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(listed)
    )
    ov.save_model(quantized, str(target), compress_to_fp16=False)


def _export_onnx(model: Path, target: Path) -> None:
    import torch
    from transformers import AutoModel

    names = ["input_ids", "attention_mask"]

    encoder = AutoModel.from_pretrained(str(model), attn_implementation="eager", add_pooling_layer=False).eval()
    ids = torch.randint(5, 25, (2, 7))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with torch.inference_mode():
        torch.onnx.export(
            encoder,
            kwargs={"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            f=str(target),
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_shapes=dict.fromkeys(names, axes),
            opset_version=ONNX_OPSET,
            dynamo=True,
            verbose=False,
        )
