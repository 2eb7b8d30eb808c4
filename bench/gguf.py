"""A BERT model as a GGUF file in q8_0, as llama.cpp reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import UnsupportedModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORDS = "embeddings.word_embeddings.weight"
# Names of tensors: those of Hugging Face's BERT, and GGUF's.
_EMBEDDINGS = {
    _WORDS: "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
_LINEAR = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
}
_NORMS = {"attention.output.LayerNorm": "attn_output_norm", "output.LayerNorm": "layer_output_norm"}


def write_gguf(model: Path, target: Path, *, pooling: str) -> None:
    """Write a BERT model's folder as one file: words and linear layers in q8_0, norms, biases and the rest in fp32.

    Raises:
        UnsupportedModelError: It is no BERT with a WordPiece vocabulary.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, PoolingType, quants
    from safetensors.numpy import load_file

    config = json.loads((model / "config.json").read_text("utf-8"))
    vocabulary = _vocabulary(model / "tokenizer.json")
    if config.get("model_type") != "bert" or vocabulary is None:
        raise UnsupportedModelError("only a BERT with a WordPiece vocabulary is written as GGUF here.")
    writer = GGUFWriter(target, "bert")
    _add_settings(writer, config, {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "last": PoolingType.LAST}[pooling])
    _add_vocabulary(writer, vocabulary)
    weights = {name.removeprefix("bert."): values for name, values in load_file(model / "model.safetensors").items()}
    q8_0 = GGMLQuantizationType.Q8_0
    for source, (name, in_bytes) in _tensors(config["num_hidden_layers"]).items():
        values: NDArray[Any] = weights[source].astype(np.float32)
        if in_bytes:
            writer.add_tensor(name, quants.quantize(values, q8_0), raw_dtype=q8_0)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(layers: int) -> dict[str, tuple[str, bool]]:
    """Return GGUF's name of every tensor, and whether it is in q8_0."""
    tensors = {source: (name, source == _WORDS) for source, name in _EMBEDDINGS.items()}
    for layer in range(layers):
        for names, in_bytes in ((_LINEAR, True), (_NORMS, False)):
            for source, name in names.items():
                for part in ("weight", "bias"):
                    tensors[f"encoder.layer.{layer}.{source}.{part}"] = (
                        f"blk.{layer}.{name}.{part}",
                        in_bytes and part == "weight",
                    )
    return tensors


def _add_settings(writer: Any, config: dict[str, Any], pooling: Any) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)


def _vocabulary(file: Path) -> list[str] | None:
    """Return a WordPiece vocabulary, by id; None where the tokenizer is another."""
    model = json.loads(file.read_text("utf-8"))["model"]
    if model["type"] != "WordPiece":
        return None
    return sorted(model["vocab"], key=model["vocab"].__getitem__)


def _add_vocabulary(writer: Any, words: list[str]) -> None:
    from gguf import TokenType

    special = {word for word in words if word.startswith("[") and word.endswith("]") and len(word) > 2}
    # llama.cpp marks what begins a word, where WordPiece marks what goes on with it.
    written = [word if word in special else word[2:] if word.startswith("##") else f"\u2581{word}" for word in words]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(2)
    writer.add_token_list(written)
    writer.add_token_types([TokenType.CONTROL if word in special else TokenType.NORMAL for word in words])
    ids = {word: place for place, word in enumerate(words)}
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])
