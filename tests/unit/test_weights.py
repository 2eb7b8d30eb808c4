"""Safetensors to weights: every form they come in gives the same numbers, and anything else is named."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.architectures import (
    Activation,
    EncoderConfig,
    EncoderWeights,
    Linear,
    Norm,
    load_weights,
)
from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.distilbert import DISTILBERT
from intel_quantized_embeddings.architectures.embedding_gemma2 import EMBEDDING_GEMMA2
from intel_quantized_embeddings.architectures.gemma3 import GEMMA3
from intel_quantized_embeddings.architectures.gte import GTE
from intel_quantized_embeddings.architectures.jina_bert import JINA_BERT
from intel_quantized_embeddings.architectures.modernbert import MODERNBERT
from intel_quantized_embeddings.architectures.mpnet import MPNET
from intel_quantized_embeddings.architectures.qwen3 import QWEN3
from intel_quantized_embeddings.architectures.roberta import ROBERTA
from intel_quantized_embeddings.architectures.table import ARCHITECTURES
from intel_quantized_embeddings.errors import DamagedFilesError, ModelFilesError, UnsupportedModelError
from support.tiny_models import (
    EMBEDDING,
    HEADS,
    HIDDEN,
    INNER,
    LAYERS,
    OUTPUT,
    POSITIONS,
    RECALLED,
    tiny_config,
    write_tiny_model,
)

QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def folder(tmp_path):
    """A tiny BERT of this test's own."""
    return write_tiny_model(tmp_path / "model")


def _load(folder: Path) -> EncoderWeights:
    config = json.loads((folder / "config.json").read_text())
    return load_weights(folder, EncoderConfig.from_hf(config, where=str(folder)))


def _rewrite(folder: Path, change: Any) -> Path:
    """Replace the tensors by what `change` makes of them."""
    tensors = load_file(str(folder / "model.safetensors"))
    save_file(change(tensors), str(folder / "model.safetensors"))
    return folder


def _assert_same(weights: EncoderWeights, expected: EncoderWeights, **tolerance: float) -> None:
    for name, array in _arrays(weights).items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, _arrays(expected)[name], **(tolerance or {"rtol": 0}), err_msg=name)


def _arrays(weights: EncoderWeights) -> dict[str, np.ndarray]:
    arrays = {"words": weights.word_embeddings, "positions": weights.position_embeddings}
    parts = {"norm": weights.embedding_norm, "final": weights.final_norm, "output": weights.output_projection}
    for index, layer in enumerate(weights.layers):
        for of in (layer, layer.recall) if layer.recall else (layer,):
            parts |= {f"{index}.{part}": getattr(of, part) for part in of.__slots__ if part != "recall"}
    for name, part in parts.items():
        if isinstance(part, Linear | Norm):
            arrays |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
        elif part is not None:
            arrays[name] = np.float32(part) if isinstance(part, float) else part
    return arrays


# --- forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ARCHITECTURES, ids=lambda family: family.name)
def test_every_family_loads(tmp_path, family):
    """All families come out as the same kind of object with the shapes of their configuration."""
    weights = _load(write_tiny_model(tmp_path / "model", family=family))
    embedding = EMBEDDING if family.keys.embedding_size else HIDDEN
    assert len(weights.layers) == LAYERS
    assert weights.position_embeddings.shape == ((POSITIONS if family.weights.position_embeddings else 1), embedding)
    projection = weights.embedding_projection
    assert projection is None if embedding == HIDDEN else projection.weight.shape == (HIDDEN, embedding)
    recalls = {layer.recall and layer.recall.gate.weight.shape for layer in weights.layers}
    assert recalls == {(RECALLED, HIDDEN) if family.keys.recall_size else None}
    behind = weights.output_projection
    assert behind is None if family.keys.output_size is None else behind.weight.shape == (OUTPUT, HIDDEN)
    assert weights.layers[0].intermediate.weight.shape == (INNER, HIDDEN)
    assert weights.layers[1].output.weight.shape == (HIDDEN, INNER)
    bias = weights.relative_attention_bias
    assert bias is None if family is not MPNET else bias.shape == (32, HEADS)


def test_the_first_token_types_embedding_is_in_the_positions(folder):
    """A text alone is of token type 0, so its embedding is added to every position once and for all."""
    tensors = load_file(str(folder / "model.safetensors"))
    expected = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    np.testing.assert_array_equal(_load(folder).position_embeddings, expected)


@pytest.mark.parametrize(
    ("family", "prefix"),
    [
        (BERT, "bert."),
        (ROBERTA, "roberta."),
        (DISTILBERT, "distilbert."),
        (MPNET, "mpnet."),
        (ROBERTA, "bert."),  # any family's
        (MODERNBERT, "model."),
        (GTE, "new."),
        (QWEN3, "model."),
        (GEMMA3, "language_model."),
        (EMBEDDING_GEMMA2, "language_model."),
    ],
)
def test_a_prefix_makes_no_difference(tmp_path, family, prefix):
    """Checkpoints saved with a head put the model's name before every tensor and bring tensors of their own."""
    folder = write_tiny_model(tmp_path / "model", family=family)
    expected = _load(folder)
    head = {"cls.predictions.bias": np.zeros(3, np.float32)}
    _rewrite(folder, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()} | head)
    _assert_same(_load(folder), expected)


def test_gamma_and_beta_are_weight_and_bias(folder):
    """Checkpoints converted from TensorFlow name the LayerNorm's parts gamma and beta."""
    expected = _load(folder)

    def rename(tensors):
        names = {name: name.replace(".weight", ".gamma").replace(".bias", ".beta") for name in tensors}
        return {names[name] if "LayerNorm" in name else name: tensor for name, tensor in tensors.items()}

    _rewrite(folder, rename)
    assert "embeddings.LayerNorm.gamma" in load_file(str(folder / "model.safetensors"))
    _assert_same(_load(folder), expected)


def test_shards_are_one_model(folder):
    """Tensors spread over files come together by the index."""
    expected = _load(folder)
    _shard(folder)
    _assert_same(_load(folder), expected)


def _shard(folder: Path) -> dict[str, str]:
    tensors = load_file(str(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    shards = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    index = {name: shards[number % 3] for number, name in enumerate(sorted(tensors))}
    for shard in shards:
        save_file({name: tensors[name] for name in tensors if index[name] == shard}, str(folder / shard))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return index


def test_one_file_wins_over_an_index(folder, tmp_path):
    """As in transformers, an index beside a whole file is not looked at."""
    expected = _load(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "gone.safetensors"}}')
    _assert_same(_load(folder), expected)


def test_float16_is_widened(folder):
    """fp16 weights come out as the float32 of the same value."""
    expected = _load(folder)
    _rewrite(folder, lambda tensors: {name: tensor.astype(np.float16) for name, tensor in tensors.items()})
    _assert_same(_load(folder), expected, rtol=1e-3, atol=2e-3)


def test_float64_is_narrowed(folder):
    """fp64 weights that were float32 before come out unchanged."""
    expected = _load(folder)
    _rewrite(folder, lambda tensors: {name: tensor.astype(np.float64) for name, tensor in tensors.items()})
    _assert_same(_load(folder), expected)


def test_bfloat16_is_widened_exactly(folder):
    """bf16, which NumPy lacks, is the upper half of a float32: the value is exactly that."""
    tensors = load_file(str(folder / "model.safetensors"))
    upper = {name: (tensor.view(np.uint32) >> 16).astype("<u2") for name, tensor in tensors.items()}
    cut = {name: (half.astype(np.uint32) << 16).view(np.float32) for name, half in upper.items()}
    save_file(cut, str(folder / "model.safetensors"))
    expected = _load(folder)
    _write_bfloat16(upper, folder / "model.safetensors")
    _assert_same(_load(folder), expected)


def _write_bfloat16(tensors: dict[str, np.ndarray], file: Path) -> None:
    """Write the format by hand, https://huggingface.co/docs/safetensors: NumPy's writer knows no bf16."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, end]}
    described = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(described)) + described + b"".join(t.tobytes() for t in tensors.values()))


def test_mixed_types_load(folder):
    """Some tensors in half precision and some not, as tools that keep norms in float32 write them."""
    expected = _load(folder)
    _rewrite(folder, lambda tensors: {n: t if "Norm" in n else t.astype(np.float16) for n, t in tensors.items()})
    loaded = _load(folder)
    np.testing.assert_array_equal(loaded.embedding_norm.weight, expected.embedding_norm.weight)
    _assert_same(loaded, expected, rtol=1e-3, atol=2e-3)


# --- damage ------------------------------------------------------------------------------------


def test_a_missing_tensor_is_named(folder):
    """A checkpoint without a tensor is an error naming it and the file."""
    _rewrite(folder, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != QUERY})
    with pytest.raises(DamagedFilesError, match=rf"no tensor '{QUERY}' in .*model\.safetensors"):
        _load(folder)


def test_a_wrong_shape_is_named(folder):
    """A tensor that does not fit config.json is an error with both shapes."""
    _rewrite(folder, lambda tensors: {**tensors, QUERY: tensors[QUERY][:, :-1].copy()})
    with pytest.raises(
        DamagedFilesError, match=rf"{QUERY}' in .* has shape \(32, 31\); config.json asks for \(32, 32\)"
    ):
        _load(folder)


def test_fewer_layers_than_configured_are_named(folder):
    """config.json that promises a layer more than there is names that layer's tensor."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": LAYERS + 1}))
    with pytest.raises(DamagedFilesError, match=rf"no tensor 'encoder\.layer\.{LAYERS}\."):
        _load(folder)


def test_integer_weights_are_refused(folder):
    """Weights that somebody stored as integers need scales that are not read here."""
    _rewrite(folder, lambda tensors: {**tensors, QUERY: tensors[QUERY].astype(np.int8)})
    with pytest.raises(DamagedFilesError, match=f"'{QUERY}' of .* has type I8"):
        _load(folder)


def test_another_models_weights_are_refused(folder):
    """Weights under names of no known architecture contradict config.json."""
    _rewrite(folder, lambda tensors: {"wte.weight": tensors["embeddings.word_embeddings.weight"]})
    with pytest.raises(DamagedFilesError, match=r"not those of a bert encoder, which config\.json says they are"):
        _load(folder)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"\x08" + b"\0" * 7 + b"{}      "]
)
def test_a_file_that_is_no_safetensors_is_named(folder, content):
    """An empty file, an LFS pointer or a header without tensors is an error naming the file."""
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DamagedFilesError, match=r"model\.safetensors|no 'embeddings"):
        _load(folder)


def test_a_truncated_file_is_named(folder):
    """A download that was cut short is an error that says to fetch it again."""
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(DamagedFilesError, match=r"model\.safetensors is not a readable safetensors.*fetch it again"):
        _load(folder)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/outside.safetensors", "sub/x.safetensors", 7])
def test_an_index_can_not_leave_the_folder(folder, name):
    """A shard is a plain file name; anything else is refused, even where such a file exists."""
    shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": name}}))
    with pytest.raises(DamagedFilesError, match="shards are plain file names beside it"):
        _load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"x": {}}}'])
def test_a_damaged_index_is_named(folder, content):
    """An index that is no table of shards is an error naming it."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(DamagedFilesError, match=r"index\.json is not a safetensors index"):
        _load(folder)


def test_a_missing_shard_is_named(folder):
    """An index that lists a file which is not there names that file."""
    shard = sorted(set(_shard(folder).values()))[1]
    (folder / shard).unlink()
    with pytest.raises(ModelFilesError, match=f"'{shard}', which is not in"):
        _load(folder)


def test_pickled_weights_are_not_read(folder):
    """With only pytorch_model.bin, the error says that unpickling runs code and how to convert."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelFilesError, match=r"pytorch_model\.bin\) are not read, because unpickling runs code"):
        Encoder.load(folder, precision="fp32")


@pytest.mark.parametrize("layer", ["attention.self.layer_norm_q", "mlp.up_gated_layer"])
def test_layers_of_a_variant_that_is_not_built_in_are_named(tmp_path, layer):
    """JinaBERT's code model has norms on queries and keys, of which its config.json says nothing."""
    folder = write_tiny_model(tmp_path / "model", family=JINA_BERT)
    name = f"encoder.layer.1.{layer}.weight"
    _rewrite(folder, lambda tensors: tensors | {name: np.ones(HIDDEN, np.float32)})
    with pytest.raises(UnsupportedModelError, match=rf"encoder\.layer\.1\.{layer}': a variant of jina_bert.*ONNX"):
        _load(folder)


# --- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_type", "family"),
    [
        ("bert", BERT),
        ("roberta", ROBERTA),
        ("xlm-roberta", ROBERTA),
        ("camembert", ROBERTA),
        ("distilbert", DISTILBERT),
        ("mpnet", MPNET),
    ],
)
def test_architectures_map_to_families(model_type, family):
    """XLM-RoBERTa and CamemBERT are RoBERTas."""
    config = {**tiny_config(family), "model_type": model_type}
    assert EncoderConfig.from_hf(config, where="it").architecture is family


@pytest.mark.parametrize("model_type", ["albert", "gpt2", "deberta-v2", None, 3, ["bert"]])
def test_other_architectures_are_refused_with_a_way_out(model_type):
    """The error lists what is built in and how to convert the rest."""
    config = {**tiny_config(BERT), "model_type": model_type}
    with pytest.raises(UnsupportedModelError, match=r"not built in \(built in: bert, .*iqe export"):
        EncoderConfig.from_hf(config, where="it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"is_decoder": True}, "is a decoder"),
        ({"auto_map": {"AutoModel": "modeling_own.OwnModel"}}, "auto_map=.*code"),
        ({"auto_map": {"AutoConfig": "own--configuration.Own"}}, "auto_map=.*code"),
        ({"auto_map": "modeling_own.OwnModel"}, "auto_map=.*code"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config=.*gptq"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads="),
        ({"hidden_act": "swiglu"}, "activation 'swiglu'; built in are gelu"),
        ({"hidden_act": None}, "activation None"),
    ],
)
def test_variants_that_would_compute_something_else_are_refused(change, message):
    """What would load without complaint and give other vectors is refused."""
    with pytest.raises(UnsupportedModelError, match=message):
        EncoderConfig.from_hf({**tiny_config(BERT), **change}, where="it")


@pytest.mark.parametrize(
    "harmless", [{"auto_map": None}, {"auto_map": {"AutoModelForMaskedLM": "a.B"}}, {"pruned_heads": {}}]
)
def test_variants_of_something_else_are_not_refused(harmless):
    """What neither an encoder nor a cross-encoder is built from may be the repository's own."""
    assert EncoderConfig.from_hf({**tiny_config(BERT), **harmless}, where="it").hidden_size == 32


def test_mpnets_padding_id_is_fixed():
    """transformers counts its positions from 1, whatever config.json says."""
    config = tiny_config(MPNET)
    assert EncoderConfig.from_hf({**config, "pad_token_id": None}, where="it").first_position == 2
    with pytest.raises(UnsupportedModelError, match="pad_token_id=0; MPNet counts positions from the padding id 1"):
        EncoderConfig.from_hf({**config, "pad_token_id": 0}, where="it")


def test_distilberts_epsilon_is_fixed():
    """transformers does not look for it in config.json."""
    config = {**tiny_config(DISTILBERT), "layer_norm_eps": 0.1}
    assert EncoderConfig.from_hf(config, where="it").layer_norm_eps == 1e-12


@pytest.mark.parametrize("value", [None, 0, -1, 2.5, "384", True])
@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"])
def test_an_impossible_size_is_named(key, value):
    """A size that is missing or no positive integer is an error naming key and value."""
    with pytest.raises(DamagedFilesError, match=f"has {key}={value!r}; a positive integer is needed"):
        EncoderConfig.from_hf({**tiny_config(BERT), key: value}, where="it")


def test_heads_must_divide_the_hidden_size():
    """Hidden units that do not divide into the heads are damage."""
    with pytest.raises(DamagedFilesError, match="32 hidden units do not divide into 5 attention heads"):
        EncoderConfig.from_hf({**tiny_config(BERT), "num_attention_heads": 5}, where="it")


@pytest.mark.parametrize("eps", [None, "tiny", [1], -1.0])
def test_an_impossible_epsilon_is_named(eps):
    """layer_norm_eps that is no positive number is an error naming it."""
    with pytest.raises(DamagedFilesError, match="layer_norm_eps="):
        EncoderConfig.from_hf({**tiny_config(BERT), "layer_norm_eps": eps}, where="it")


def test_positions_of_roberta_start_after_the_padding_id():
    """RoBERTa and MPNet lose pad_token_id + 1 positions of the table; BERT loses none."""
    for family, expected in ((BERT, 0), (DISTILBERT, 0), (ROBERTA, 2), (MPNET, 2)):
        lost = POSITIONS - EncoderConfig.from_hf(tiny_config(family), where="it").max_length
        assert lost == expected, family.name


@pytest.mark.parametrize(
    ("name", "activation"),
    [("gelu", Activation.GELU), ("gelu_new", Activation.GELU_TANH), ("relu", Activation.RELU)],
)
def test_activations_are_read(name, activation):
    """Each activation that is built in has its transformers name."""
    config = EncoderConfig.from_hf({**tiny_config(BERT), "hidden_act": name}, where="it")
    assert config.activation is activation
