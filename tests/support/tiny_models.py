"""Tiny random models, written as folders without torch: the same seed gives the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from intel_quantized_embeddings.architectures import (
    Activation,
    EncoderConfig,
    EncoderWeights,
    LayerWeights,
    Linear,
    Norm,
)
from intel_quantized_embeddings.architectures.bert import BERT
from intel_quantized_embeddings.architectures.description import Architecture, NormPlace, Part
from intel_quantized_embeddings.architectures.tensor_names import WeightNames

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 4, 64, 130
EMBEDDING = 20  # of families whose embeddings have a width of their own
RECALLED, OUTPUT = 24, 40  # of families whose layers have a third half, and whose vectors have a width of their own

_WORDS = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "for",
    "on",
    "with",
    "as",
    "was",
    "at",
    "by",
    "an",
    "be",
    "this",
    "from",
    "what",
    "how",
    "why",
    "which",
    "when",
    "who",
    "where",
    "can",
    "does",
    "model",
    "query",
    "document",
    "vector",
    "cat",
    "dog",
    "mat",
    "sat",
    "red",
    "blue",
    "green",
    "river",
    "mountain",
    "house",
    "city",
    "tree",
    "stone",
    "light",
    "water",
    "fire",
    "wind",
    "earth",
    "metal",
    "paper",
    "book",
    "music",
    "paint",
    "stars",
    "moon",
    "sun",
    "cold",
    "warm",
    "fast",
    "slow",
    "old",
    "new",
    "big",
    "small",
]
_LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,:;!?'()-")
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
VOCABULARY = list(dict.fromkeys([*_SPECIAL, *_WORDS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]))


# Of the messages' texts alone, one behind another.
TEXT_TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}{{ part['text'] }}"
    "{%- endfor -%}{%- endfor -%}"
)


def write_tiny_model(
    folder: Path,
    *,
    family: Architecture = BERT,
    pooling: str | None = "mean",
    normalize: bool = True,
    max_length: int = 64,
    prompts: dict[str, str] | None = None,
    behind: Sequence[tuple[str, dict[str, object]]] | None = None,
    seed: int = 0,
) -> Path:
    """Write a sentence-transformers folder with random weights.

    Args:
        folder: Where.
        family: The encoder's.
        pooling: `None` leaves out who pools how; "cls+max" is several.
        normalize: Whether a Normalize module ends it.
        max_length: In tokens.
        prompts: The folder's.
        behind: The modules behind pooling instead, with what their configuration says beside widths that follow.
        seed: Of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(family)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tiny_weights(config, seed=seed), str(folder / "model.safetensors"))
    write_tiny_tokenizer(folder / "tokenizer.json")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": max_length}))
    if pooling is not None:
        write_tiny_modules(folder, pooling, behind or ([("Normalize", {})] if normalize else []), seed=seed)
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def write_tiny_modules(
    folder: Path, pooling: str, behind: Sequence[tuple[str, dict[str, object]]], *, seed: int = 0
) -> None:
    """Write `modules.json` and the modules behind the Transformer, with random weights; see `write_tiny_model`."""
    random, width = np.random.default_rng(seed + 7), HIDDEN * len(pooling.split("+"))
    modes = pooling.split("+")
    pools = {"embedding_dimension": HIDDEN, "pooling_mode": modes if len(modes) > 1 else pooling}
    modules = []
    for place, (kind, given) in enumerate([("Transformer", {}), ("Pooling", pools), *behind]):
        path = f"{place}_{kind}" if place else ""
        modules.append({"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"})
        config, tensors = dict(given), {}
        if kind == "Dense":
            torch_name = config.pop("activation", "linear.Identity")
            config = {
                "in_features": width,
                "out_features": width,
                "bias": True,
                "activation_function": f"torch.nn.modules.{torch_name}",
                **config,
            }
            shape = (int(str(config["out_features"])), width)
            tensors["linear.weight"] = random.normal(0, width**-0.5, shape).astype(np.float32)
            if config["bias"]:
                tensors["linear.bias"] = random.normal(0, 0.3, shape[0]).astype(np.float32)
            width = shape[0]
        elif kind == "LayerNorm":
            config = {"dimension": width}
            tensors["norm.weight"] = (1 + random.normal(0, 0.3, width)).astype(np.float32)
            tensors["norm.bias"] = random.normal(0, 0.3, width).astype(np.float32)
        if place and (config or tensors):
            (folder / path).mkdir(exist_ok=True)
            (folder / path / "config.json").write_text(json.dumps(config))
        if tensors:
            save_file(tensors, str(folder / path / "model.safetensors"))
    (folder / "modules.json").write_text(json.dumps(modules))


def save_in_halves(tensors: dict[str, np.ndarray], file: Path, *, bfloat16: bool) -> None:
    """Write tensors in half precision: float16, or the upper half of float32, which numpy has no type for."""
    if not bfloat16:
        save_file({name: tensor.astype(np.float16) for name, tensor in tensors.items()}, str(file))
        return
    header, data = {}, b""
    for name, tensor in tensors.items():
        halves = (tensor.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(halves)]}
        data += halves
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_tiny_router(
    folder: Path,
    *,
    default: str | None = "document",
    prompts: dict[str, str] | None = None,
    static_queries: bool = False,
) -> Path:
    """Write a Router of two models with random weights: queries by mean and a Dense (or a table), documents by CLS."""
    types, structure = {}, {}
    chains = {
        "query": ("mean", [("Dense", {"out_features": HIDDEN, "activation": "activation.Tanh"})]),
        "document": ("cls", []),
    }
    for seed, (route, (pooling, behind)) in enumerate(chains.items()):
        whole = write_tiny_model(folder / "whole", pooling=pooling, behind=behind, seed=seed)
        kinds = ["Transformer", "Pooling", *(kind for kind, _ in behind)]
        structure[route] = [f"{route}_{place}_{kind}" for place, kind in enumerate(kinds)]
        types |= {
            name: f"sentence_transformers.models.{kind}" for name, kind in zip(structure[route], kinds, strict=True)
        }
        for place, name in enumerate(structure[route][1:], start=1):
            (whole / f"{place}_{kinds[place]}").rename(folder / name)
        (whole / "modules.json").unlink()
        whole.rename(folder / structure[route][0])
    if static_queries:
        structure["query"] = ["query_0_StaticEmbedding"]
        types["query_0_StaticEmbedding"] = "sentence_transformers.models.StaticEmbedding"
        whole = write_tiny_static(folder / "whole", dimension=HIDDEN)
        (whole / "0_StaticEmbedding").rename(folder / "query_0_StaticEmbedding")
        shutil.rmtree(whole)
    described = {"types": types, "structure": structure, "parameters": {"default_route": default}}
    (folder / "router_config.json").write_text(json.dumps(described))
    modules = [("", "Router"), ("1_Normalize", "Normalize")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def write_tiny_static(
    folder: Path,
    *,
    model2vec: bool = False,
    normalize: bool = True,
    tensors: dict[str, np.ndarray] | None = None,
    prompts: dict[str, str] | None = None,
    dimension: int = 24,
    seed: int = 0,
) -> Path:
    """Write a static model as sentence-transformers saves one, or model2vec 0.10.

    Args:
        folder: Where.
        model2vec: Whether as model2vec does.
        normalize: Whether vectors have length 1.
        tensors: The table and what belongs to it; a random one when left out.
        prompts: The folder's.
        dimension: Of a random table.
        seed: Of a random table.
    """
    where = folder if model2vec else folder / "0_StaticEmbedding"
    where.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(seed).normal(0, 1, (len(VOCABULARY), dimension)).astype(np.float32)
    save_file(tensors or {"embeddings" if model2vec else "embedding.weight": table}, str(where / "model.safetensors"))
    write_tiny_tokenizer(where / "tokenizer.json")
    kinds = ["StaticEmbedding", *(["Normalize"] if normalize else [])]
    paths = ["." if model2vec else "0_StaticEmbedding", "1_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    if model2vec:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(512)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps({"normalize": normalize, "max_length": 512}))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return folder


def write_tiny_cross_encoder(
    folder: Path,
    *,
    family: Architecture = BERT,
    activation: str | None = None,
    labels: int = 1,
    max_length: int = 64,
    seed: int = 0,
) -> Path:
    """Write a sequence classifier with random weights as transformers saves one; `activation` as torch names it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(family)
    prefix = family.prefixes[0]
    tensors = {prefix + name: tensor for name, tensor in tiny_weights(config, seed=seed).items()}
    dense = f"{prefix if family is BERT else ''}{family.head.dense}"
    random = np.random.default_rng(seed + 1)
    for name, rows in ((dense, HIDDEN), (family.head.output, labels))[family.head.dense is None :]:
        tensors[f"{name}.weight"] = random.normal(0, 0.3, (rows, HIDDEN)).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.3, rows).astype(np.float32)
    if family.head.norm is not None:
        tensors[f"{family.head.norm}.weight"] = random.normal(1, 0.3, HIDDEN).astype(np.float32)
    config["architectures"] = ["TinyForSequenceClassification"]
    if activation is not None:
        config["sentence_transformers"] = {"activation_fn": activation}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, str(folder / "model.safetensors"))
    write_tiny_tokenizer(folder / "tokenizer.json")
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": max_length}
    if family.weights.token_type_embeddings is not None:
        described["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def write_tiny_sparse(
    folder: Path,
    *,
    family: Architecture = BERT,
    pooling: str | None = "max",
    activation: str = "relu",
    own: dict[str, object] | None = None,
    max_length: int = 64,
    seed: int = 0,
) -> Path:
    """Write a masked language model with random weights, as sentence-transformers' SparseEncoder saves one.

    Args:
        folder: Where.
        family: One with `masked_lm`; its decoder is the table of words.
        pooling: "max" or "sum"; None leaves all out that transformers does not write.
        activation: "relu" or "log1p_relu".
        own: What `config_sentence_transformers.json` says beside the kind of model.
        max_length: In tokens.
        seed: Of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(family) | {"architectures": ["TinyForMaskedLM"], "tie_word_embeddings": True}
    tensors = {family.prefixes[0] + name: tensor for name, tensor in tiny_weights(config, seed=seed).items()}
    names, random = family.masked_lm, np.random.default_rng(seed + 1)
    tensors[f"{names.dense}.weight"] = random.normal(0, 0.3, (HIDDEN, HIDDEN)).astype(np.float32)
    tensors[f"{names.norm}.weight"] = random.normal(1, 0.3, HIDDEN).astype(np.float32)
    if family.block.norms is NormPlace.POST:  # ModernBERT's has no biases
        tensors[f"{names.dense}.bias"] = random.normal(0, 0.3, HIDDEN).astype(np.float32)
        tensors[f"{names.norm}.bias"] = random.normal(0, 0.3, HIDDEN).astype(np.float32)
    tensors[names.bias] = random.normal(-1, 0.5, len(VOCABULARY)).astype(np.float32)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, str(folder / "model.safetensors"))
    write_tiny_tokenizer(folder / "tokenizer.json")
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": max_length}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    if pooling is None:
        return folder
    package = "sentence_transformers.sparse_encoder.modules"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{package}.mlm_transformer.MLMTransformer"},
        {"idx": 1, "name": "1", "path": "1_SpladePooling", "type": f"{package}.splade_pooling.SpladePooling"},
    ]
    pools = {"pooling_strategy": pooling, "activation_function": activation, "embedding_dimension": len(VOCABULARY)}
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_SpladePooling").mkdir(exist_ok=True)
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(pools))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"model_type": "SparseEncoder", **(own or {})})
    )
    return folder


def write_tiny_weight_table(folder: Path, *, max_length: int | None = 64, seed: int = 0) -> Path:
    """Write a table of tokens' weights, as SparseStaticEmbedding saves one; a fifth of the weights is 0."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed + 2)
    weights = random.uniform(0.1, 9, len(VOCABULARY)) * (random.uniform(size=len(VOCABULARY)) > 0.2)
    save_file({"weight": weights.astype(np.float32)}, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps({"frozen": True}))
    write_tiny_tokenizer(folder / "tokenizer.json")
    described: dict[str, object] = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]"}
    if max_length is not None:
        described["model_max_length"] = max_length
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


def write_tiny_sparse_router(
    folder: Path,
    *,
    family: Architecture = BERT,
    as_published: bool = False,
    layered_queries: bool = False,
    default: str | None = "document",
    own: dict[str, object] | None = None,
) -> Path:
    """Write a sparse model whose queries are looked up in a table of weights, with random weights.

    Args:
        folder: Where.
        family: The documents' model's.
        as_published: Whether the documents' model is in the Router's own folder, as in OpenSearch's repositories on the
            hub, or in one of its own, as sentence-transformers 6.2 saves it.
        layered_queries: Whether queries have a model with layers too, in place of the table.
        default: The default route.
        own: What `config_sentence_transformers.json` says beside the kind of model.
    """
    package = "sentence_transformers.sparse_encoder.models"
    kinds = {"document": ["MLMTransformer", "SpladePooling"], "query": ["SparseStaticEmbedding"]}
    if layered_queries:
        kinds["query"] = kinds["document"]
    types, structure = {}, {}
    for seed, (route, chain) in enumerate(kinds.items()):
        names = [f"{route}_{place}_{kind}" for place, kind in enumerate(chain)]
        if as_published and route == "document":
            names[0] = ""
        types |= {name: f"{package}.{kind}" for name, kind in zip(names, chain, strict=True)}
        structure[route] = names
        first = folder / names[0]
        if len(chain) == 1:
            write_tiny_weight_table(first)
            continue
        write_tiny_sparse(first, family=family, activation="log1p_relu", seed=seed)
        (first / "1_SpladePooling").rename(folder / names[1])
        for file in ("modules.json", "config_sentence_transformers.json"):
            (first / file).unlink()
    described = {"types": types, "structure": dict(sorted(structure.items(), reverse=True))}
    described["parameters"] = {"default_route": default, "allow_empty_key": True}
    (folder / "router_config.json").write_text(json.dumps(described))
    router = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}
    (folder / "modules.json").write_text(json.dumps([router]))
    described = {"model_type": "SparseEncoder", "similarity_fn_name": "dot", **(own or {})}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(described))
    return folder


# What makes one text of a pair, for `write_tiny_causal_scorer`.
PAIR_TEMPLATE = "[CLS] {{ messages[0].content }} [SEP] {{ messages[1].content }} [MASK] yes or no [SEP]"


def write_tiny_causal_scorer(
    folder: Path, *, family: Architecture, tokens: tuple[int, int | None], seed: int = 0
) -> Path:
    """Write a causal model that scores pairs by the next token, behind a chat template, as sentence-transformers does.

    Args:
        folder: Where.
        family: One with `next_token`; the table of words is tied to it.
        tokens: Whose logit is the score, and whose is subtracted.
        seed: Of the weights.
    """
    write_tiny_cross_encoder(folder, family=family, activation="torch.nn.modules.linear.Identity", seed=seed)
    tensors = load_file(folder / "model.safetensors")
    head = (f"{family.head.output}.weight", f"{family.head.output}.bias")
    save_file({name: array for name, array in tensors.items() if name not in head}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config |= {"architectures": ["TinyForCausalLM"], "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate((("", "Transformer"), ("1_LogitScore", "LogitScore")))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    own = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.linear.Identity"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(own))
    (folder / "1_LogitScore").mkdir()
    wanted, other = tokens
    score = {"true_token_id": wanted, "false_token_id": other, "module_input_name": "causal_logits"}
    (folder / "1_LogitScore" / "config.json").write_text(json.dumps(score))
    ask_for_chats(folder)
    return folder


def ask_for_chats(folder: Path) -> None:
    """Make a folder ask for pairs in a chat template, as sentence-transformers writes it."""
    asked = {"text": {"method": "forward", "method_output_name": "logits"}}
    asked["message"] = {**asked["text"], "format": "flat"}
    described = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(described | {"chat_template": PAIR_TEMPLATE}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"modality_config": asked}))


def ask_for_messages(folder: Path, *, template: str | None = None) -> Path:
    """Make a folder ask for texts as messages beside images, as sentence-transformers writes it of an embedder."""
    asked = {"method": "forward", "method_output_name": "last_hidden_state"}
    modalities = {"text": asked, "image": asked, "message": {**asked, "format": "structured"}}
    described = {"modality_config": modalities, "module_output_name": "token_embeddings"}
    (folder / "sentence_bert_config.json").write_text(json.dumps(described))
    (folder / "chat_template.jinja").write_text(template or TEXT_TEMPLATE)
    return folder


def random_encoder(
    *, hidden: int, heads: int, inner: int, activation: Activation, seed: int = 0
) -> tuple[EncoderConfig, EncoderWeights]:
    """Make an encoder of the BERT family of any widths."""
    names = {
        Activation.GELU: "gelu",
        Activation.GELU_TANH: "gelu_new",
        Activation.RELU: "relu",
        Activation.SILU: "silu",
    }
    keys = BERT.keys
    sizes = {keys.hidden_size: hidden, keys.num_heads: heads, keys.intermediate_size: inner}
    config = EncoderConfig.from_hf(tiny_config(BERT) | sizes | {keys.activation: names[activation]}, where="random")
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def linear(outputs: int, inputs: int) -> Linear:
        return Linear(draw(outputs, inputs), draw(outputs))

    def norm() -> Norm:
        return Norm(1 + draw(hidden), draw(hidden))

    def layer() -> LayerWeights:
        square = {name: linear(hidden, hidden) for name in ("query", "key", "value", "attention_output")}
        wide = {"intermediate": linear(inner, hidden), "output": linear(hidden, inner)}
        return LayerWeights(**square, **wide, attention_norm=norm(), output_norm=norm())

    return config, EncoderWeights(
        word_embeddings=draw(config.vocab_size, hidden),
        position_embeddings=draw(config.max_positions, hidden),
        embedding_norm=norm(),
        layers=tuple(layer() for _ in range(config.num_layers)),
        relative_attention_bias=None,
    )


def tiny_config(family: Architecture) -> dict[str, object]:
    """A Hugging Face `config.json` of the family."""
    keys = family.keys
    config: dict[str, object] = {
        "model_type": family.model_types[0],
        keys.vocab_size: len(VOCABULARY),
        keys.max_positions: POSITIONS,
        "pad_token_id": family.pad_token_id,
        keys.hidden_size: HIDDEN,
        keys.num_layers: LAYERS,
        keys.num_heads: HEADS,
        keys.intermediate_size: INNER,
        "position_embedding_type": family.position_types[0],
    }
    if isinstance(keys.layer_norm_eps, str):
        config[keys.layer_norm_eps] = family.default_norm_eps
    if keys.embedding_size is not None:
        config[keys.embedding_size] = EMBEDDING
    if keys.recall_size is not None:
        config[keys.recall_size] = RECALLED
    if keys.output_size is not None:
        config[keys.output_size] = OUTPUT
    if isinstance(keys.attention_scale, str):
        config[keys.attention_scale] = 16
    if keys.num_key_heads is not None:
        config |= {keys.num_key_heads: HEADS // 2, "head_dim": 16}
    if family.heads is not None:
        config["per_layer_config"] = {"1": {"head_dim": 32, keys.num_key_heads: 1}}
    if family.layer_kinds is not None and family.weights.token_type_embeddings is None:
        config |= {"layer_types": ["sliding_attention", "full_attention"], "local_attention": 12}
        config |= {"sliding_window": 6, "use_sliding_window": True}
    return config


def tiny_weights(config: dict[str, object], *, seed: int) -> dict[str, np.ndarray]:
    """Random weights under Hugging Face's names."""
    sizes = EncoderConfig.from_hf(config, where="tiny model")
    names, block = sizes.architecture.weights, sizes.block
    random = np.random.default_rng(seed)
    embedding = sizes.embedding_size
    tensors = {names.word_embeddings: (sizes.vocab_size, embedding), names.position_embeddings: (POSITIONS, embedding)}
    tensors |= {names.token_type_embeddings: (2, embedding)}
    if names.embedding_projection:
        tensors[f"{names.embedding_projection}.weight"] = (HIDDEN, embedding)
        tensors[f"{names.embedding_projection}.bias"] = (HIDDEN,)
    tensors |= {names.relative_attention_bias: (sizes.relative_attention_buckets, HEADS)}
    norms = [(names.embedding_norm, embedding)]
    for index, heads in enumerate(sizes.heads):
        at = names.layer.format(index)
        queries, keys = sizes.num_heads * heads.size, heads.keys * heads.size
        linears = {
            Part.QKV: [(names.qkv, queries + 2 * keys), (names.query, queries), (names.key, keys), (names.value, keys)],
            Part.ATTENTION_OUTPUT: [(names.attention_output, HIDDEN)],
            Part.INTERMEDIATE: [
                (names.gate_and_intermediate, 2 * INNER),
                (names.gate, INNER),
                (names.intermediate, INNER),
            ],
            Part.OUTPUT: [(names.output, HIDDEN)],
        }
        inputs = {Part.QKV: HIDDEN, Part.ATTENTION_OUTPUT: queries, Part.INTERMEDIATE: HIDDEN, Part.OUTPUT: INNER}
        for part, layers in linears.items():
            for name, rows in layers:
                if name:
                    tensors[f"{at}{name}.weight"] = (rows, inputs[part])
                    tensors |= {f"{at}{name}.bias": (rows,)} if part in block.biases else {}
        halves = (names.qkv_norm, names.attention_norm, names.intermediate_norm, names.output_norm)
        norms += [
            (at + name, HIDDEN)
            for name in halves
            if name and not (name == names.qkv_norm and not index and block.first_norm_missing)
        ]
        norms += [(at + name, heads.size) for name in (names.query_norm, names.key_norm) if name]
    tensors |= _recalls(names) | {names.output_projection and f"{names.output_projection}.weight": (OUTPUT, HIDDEN)}
    for name, width in [*norms, (names.final_norm, HIDDEN)]:
        if name:
            tensors[f"{name}.weight"] = (width,)
            tensors |= {f"{name}.bias": (width,)} if Part.NORM in block.biases else {}
    made = {}
    for name, shape in tensors.items():
        if name is not None:
            one_more = (name.endswith(".weight") and len(shape) == 1 and not block.norm_offset) or shape == (1,)
            made[name] = np.float32(one_more) + random.normal(0, 0.3, shape).astype(np.float32)
    return made


def _recalls(names: WeightNames) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors of layers' third halves."""
    recall = names.recall
    if recall is None:
        return {}
    shapes = {f"{recall.inputs}.weight": (LAYERS * RECALLED, HIDDEN), f"{recall.input_norm}.weight": (RECALLED,)}
    for at in map(names.layer.format, range(LAYERS)):
        shapes |= {f"{at}{recall.gate}.weight": (RECALLED, HIDDEN), f"{at}{recall.output}.weight": (HIDDEN, RECALLED)}
        shapes |= {f"{at}{recall.norm}.weight": (HIDDEN,), at + recall.factor: (1,)}
    return shapes


def without_special_tokens(folder: Path) -> Path:
    """Let a model's tokenizer put nothing around a text; not one that is read as BERT's."""
    described = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(described | {"post_processor": None}), "utf-8")
    return folder


def write_tiny_tokenizer(file: Path) -> None:
    """A WordPiece tokenizer that, like all-MiniLM-L6-v2's, carries padding and truncation to be overridden."""
    tokenizer = Tokenizer(
        models.WordPiece(
            {token: i for i, token in enumerate(VOCABULARY)}, unk_token="[UNK]", max_input_chars_per_word=100
        )
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(16)
    tokenizer.save(str(file))
