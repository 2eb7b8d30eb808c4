"""fp32 against transformers and sentence-transformers; runs in the reference environment, which has torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.errors import UnsupportedModelError
from intel_quantized_embeddings.models.export import export
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.settings import ModelSettings
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.tokenizer import Tokenizer
from intel_quantized_embeddings.options import Pooling, Precision, RuntimeName
from intel_quantized_embeddings.runtimes.base import RaggedRuntime
from intel_quantized_embeddings.runtimes.building import build_embedder
from intel_quantized_embeddings.runtimes.table import runtime_module
from support.tiny_models import VOCABULARY as TOKENS
from support.tiny_models import ask_for_messages, write_tiny_modules, write_tiny_tokenizer

pytestmark = [pytest.mark.reference, pytest.mark.ipex]
torch = pytest.importorskip("torch", reason="torch is in the reference environment only (make test)")
transformers = pytest.importorskip("transformers", reason="transformers is in the reference environment only")

# torch, transformers and optimum warn of many things while they trace a model; none is ours.
foreign_tracing = pytest.mark.filterwarnings("ignore")

VOCABULARY, POSITIONS = len(TOKENS), 170
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}
DISTILBERT_SIZES = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": POSITIONS,
}
ROTARY = {**SIZES, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
GROUPED = {**SIZES, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
GEMMA = {
    "head_dim": 16,
    "sliding_window": 14,
    "query_pre_attn_scalar": 24,
    "layer_types": ["sliding_attention"] * 2 + ["full_attention"],
}
GEMMA2 = {
    "head_dim": 16,
    "global_head_dim": 32,
    "sliding_window": 7,
    "sliding_window_pattern": 2,
    "hidden_size_per_layer_input": 24,
    "embedding_dim": 40,
}
MODELS = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "bert-gelu-tanh": lambda: transformers.BertConfig(**SIZES, hidden_act="gelu_new"),
    "bert-relu-eps": lambda: transformers.BertConfig(**SIZES, hidden_act="relu", layer_norm_eps=1e-5),
    "roberta": lambda: transformers.RobertaConfig(**SIZES, type_vocab_size=1),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**SIZES, type_vocab_size=1, layer_norm_eps=1e-5),
    "camembert": lambda: transformers.CamembertConfig(**SIZES, type_vocab_size=1),
    "distilbert": lambda: transformers.DistilBertConfig(**DISTILBERT_SIZES),
    "mpnet": lambda: transformers.MPNetConfig(**SIZES),
    "electra": lambda: transformers.ElectraConfig(**SIZES, embedding_size=20),
    "electra-one-width": lambda: transformers.ElectraConfig(**SIZES, embedding_size=32, hidden_act="relu"),
    "modernbert": lambda: transformers.ModernBertConfig(**ROTARY, local_attention=14),
    "modernbert-biases": lambda: transformers.ModernBertConfig(
        **ROTARY, local_attention=32, norm_bias=True, attention_bias=True, mlp_bias=True, hidden_activation="silu"
    ),
    "nomic_bert": lambda: _config("NomicBertConfig", **ROTARY),
    "gte": lambda: _config("GteConfig", **ROTARY, type_vocab_size=1),
    "gte-no-types": lambda: _config("GteConfig", **ROTARY, type_vocab_size=0, hidden_act="relu"),
    "jina-v3": lambda: _config("JinaEmbeddingsV3Config", **SIZES),
    "eurobert": lambda: _config("EuroBertConfig", **GROUPED),
    "llama": lambda: transformers.LlamaConfig(**GROUPED, mlp_bias=True),
    "qwen3": lambda: transformers.Qwen3Config(**GROUPED, head_dim=20, attention_bias=True),
    "qwen3-both-ways": lambda: _since_5("Qwen3Config", **GROUPED, head_dim=24, is_causal=False),
    "gemma3": lambda: transformers.Gemma3TextConfig(**GROUPED, **GEMMA),
    "gemma3-both-ways": lambda: transformers.Gemma3TextConfig(**GROUPED, **GEMMA, use_bidirectional_attention=True),
    "embedding-gemma2": lambda: _config("EmbeddingGemma2TextConfig", **GROUPED, **GEMMA2),
    "embedding-gemma2-biases": lambda: _config(
        "EmbeddingGemma2TextConfig", **GROUPED, **GEMMA2, num_global_key_value_heads=4, attention_bias=True
    ),
    "embedding-gemma2-whole": lambda: _with_images(**GROUPED, **GEMMA2),
}
NOT_ON_IPEX = ("electra", "jina", "modernbert", "nomic", "gte", "eurobert", "llama", "qwen3", "gemma3", "embedding")
# Families some of whose layers are causal or have windows.
WINDOWED = ("modernbert", "llama", "qwen3", "gemma3", "embedding")
# Around a window's reach of 7, a block of 16 keys, and what the engine takes at a time.
LENGTHS = (1, 2, 6, 7, 8, 9, 15, 16, 17, 33, 95, 97, 129, 165)


def _since_5(name, **sizes):
    if int(transformers.__version__.partition(".")[0]) < 5:
        pytest.skip(f"transformers {transformers.__version__} passes over is_causal")
    return _config(name, **sizes)


def _config(name, **sizes):
    if not hasattr(transformers, name):
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    return getattr(transformers, name)(**sizes)


def _with_images(**sizes):
    """A model that takes images too, by an encoder of their own."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 16}
    images = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "position_embedding_size": 64}
    return _config(
        "EmbeddingGemma2Config", text_config=sizes, vision_config={"model_type": "gemma4_vision", **heads, **images}
    )


@pytest.fixture(scope="module", params=MODELS)
def reference(request, tmp_path_factory):
    """A random transformers model and the folder it was saved in and read from."""
    return _saved(request.param, tmp_path_factory.mktemp(request.param))


def _saved(name, folder):
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(MODELS[name]())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.uniform_(0.5, 1.5)
    model.save_pretrained(folder)
    # Eager attention: what stands in padding's own rows is a number there.
    return transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval(), folder


def _compiled(folder, runtime, pooling):
    """The model of a folder on a runtime in fp32, not normalized, and its padding id."""
    module = runtime_module(RuntimeName(runtime))
    settings = ModelSettings(
        pooling=pooling, normalize=False, max_length=64, query_instruction="", document_instruction=""
    )
    source = SourceModel(path=folder, name="tiny", revision=None)
    embedder = build_embedder(source, settings, runtime=RuntimeName(runtime))
    return module.compile_graph(embedder.graph, precision=Precision.FP32), embedder.pad_token_id


def _run(compiled, ids, mask):
    """The rows of a batch; a runtime of ragged texts is given each text's own tokens."""
    if isinstance(compiled, RaggedRuntime):
        return compiled.run_ragged([row[own == 1].tolist() for row, own in zip(ids, mask, strict=True)])
    return compiled.run(ids.numpy(), mask.numpy())


# Those that reach different rows of the last layer; the others read what the mean does.
POOLINGS = (Pooling.CLS, Pooling.MEAN, Pooling.LAST)


@pytest.mark.parametrize("pooling", [pooling for pooling in Pooling if pooling not in POOLINGS])
def test_every_pooling_agrees(tmp_path, runtime, pooling):
    if runtime == "ipex":
        with pytest.raises(UnsupportedModelError, match=f"has {pooling.value}"):
            _compiled(_saved("bert", tmp_path)[1], runtime, pooling)
        return
    test_every_family_agrees_whatever_the_length_and_where_the_padding_is(_saved("bert", tmp_path), runtime, pooling)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_family_agrees_whatever_the_length_and_where_the_padding_is(reference, runtime, pooling):
    model, folder = reference
    if runtime == "ipex" and folder.name.startswith(NOT_ON_IPEX):
        with pytest.raises(UnsupportedModelError, match=r"frozen.*runtime='native'"):
            _compiled(folder, runtime, pooling)
        return
    compiled, pad_token_id = _compiled(folder, runtime, pooling)
    batches = [_ragged(pad_token_id=pad_token_id), *(_batch(length, "none", pad_token_id=0) for length in (1, 16))]
    # Ragged texts have no padding; where queries don't see everything, a padding token may see nothing but padding.
    if not isinstance(compiled, RaggedRuntime) and not folder.name.startswith(WINDOWED):
        padded = [(length, padding) for length in (7, 33, 129) for padding in ("left", "middle")]
        batches += [_batch(*one, pad_token_id=pad_token_id) for one in padded]
    for ids, mask in batches:
        with torch.no_grad():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        expected = _pooled(hidden, mask, pooling).numpy()
        found = _run(compiled, ids, mask)
        # Divided by the root of the length, vectors grow with it, and so does what is rounded.
        atol = 1e-5 * (max(LENGTHS) ** 0.5 if pooling is Pooling.MEAN_SQRT_LENGTH else 1)
        assert np.abs(found - expected).max() <= atol, (ids.shape, mask.sum(dim=1).tolist())


def test_a_checkpoint_with_a_head_has_the_same_encoder(runtime, tmp_path):
    """`bert.` before every name, as masked language models are saved."""
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES)).eval()
    model.save_pretrained(tmp_path)
    compiled, _ = _compiled(tmp_path, runtime, Pooling.MEAN)
    ids, mask = _batch(20, "right", pad_token_id=0)
    with torch.no_grad():
        hidden = model.bert(input_ids=ids, attention_mask=mask).last_hidden_state
    expected = _pooled(hidden, mask, Pooling.MEAN).numpy()
    assert np.abs(_run(compiled, ids, mask) - expected).max() <= 1e-5


TEXTS = [
    "What is static quantization?",
    "",
    "a",
    "Represent this sentence: naïve café, 東京, 🙂 and [SEP] in the middle",
    "line one\nline two\ttabbed",
    "The mitochondrion makes most of a cell's ATP. " * 30,
]


def test_minilm_agrees_with_sentence_transformers(minilm, runtime):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    theirs = sentence_transformers.SentenceTransformer(str(find_model(minilm).path), device="cpu")
    ours = Encoder.load(minilm, runtime=runtime, precision="fp32")
    assert ours.max_length == theirs.max_seq_length == 256
    assert np.abs(ours.encode_documents(TEXTS) - theirs.encode_document(TEXTS)).max() <= 1e-4
    assert np.abs(ours.encode_queries(TEXTS) - theirs.encode_query(TEXTS)).max() <= 1e-4


@pytest.mark.parametrize(
    ("model", "pooling"),
    [
        *(("bert", pooling) for pooling in ("cls", "mean", "lasttoken")),
        *(("modernbert", "mean"), ("qwen3", "lasttoken"), ("embedding-gemma2", "mean")),
    ],
)
def test_a_folder_that_sentence_transformers_saved_gives_its_vectors(tmp_path, model, pooling, runtime):
    """Pooling, normalization, prompts, length, and the tokens around a text as its current version writes them."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    if runtime == "ipex" and model.startswith(NOT_ON_IPEX):
        pytest.skip("runtime='ipex' is frozen at the BERT families")
    torch.manual_seed(1)
    inner = tmp_path / "inner"
    config = MODELS[model]()
    config.vocab_size = max(VOCABULARY, 300)
    transformers.AutoModel.from_config(config).save_pretrained(inner)
    if model == "qwen3":
        _write_qwen2_tokenizer(inner)
    else:
        write_tiny_tokenizer(inner / "tokenizer.json")
        (inner / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "PreTrainedTokenizerFast",
                    "pad_token": "[PAD]",
                    "model_max_length": 64,
                    "model_input_names": ["input_ids", "attention_mask"],
                }
            )
        )
    kinds = pytest.importorskip("sentence_transformers.models")
    width = getattr(config, "embedding_dim", 32)
    modules = [kinds.Transformer(str(inner), max_seq_length=48), kinds.Pooling(width, pooling_mode=pooling)]
    modules.append(kinds.Normalize())
    theirs = sentence_transformers.SentenceTransformer(
        modules=modules, device="cpu", prompts={"query": "ask: ", "document": "doc: "}
    )
    theirs.save_pretrained(str(tmp_path / "saved"))
    ours = Encoder.load(tmp_path / "saved", runtime=runtime, precision="fp32")
    assert ours.max_length == 48
    assert np.abs(ours.encode_queries(TEXTS) - theirs.encode_query(TEXTS)).max() <= 1e-5
    assert np.abs(ours.encode_documents(TEXTS) - theirs.encode_document(TEXTS)).max() <= 1e-5


def test_a_folder_of_a_model_that_takes_images_gives_its_vectors_of_texts(tmp_path, runtime):
    """Prompt and text are messages, of which its template makes one text. sentence-transformers wants torchvision."""
    model, folder = _saved("embedding-gemma2-whole", tmp_path / "model")
    if runtime == "ipex":
        pytest.skip("runtime='ipex' is frozen at the BERT families")
    letters = [*"abcdefghijklmnopqrstuvwxyz|:\n▁", *(f"<0x{byte:02X}>" for byte in range(60))]
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters])}
    tokenizer = transformers.GemmaTokenizer(vocab=vocabulary, merges=[], add_bos_token=True, add_eos_token=True)
    tokenizer.save_pretrained(folder)
    write_tiny_modules(folder, "mean", [("Normalize", {})])
    ask_for_messages(folder)
    prompt = "title: none | text: "
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"document": prompt}}))
    ours = Encoder.load(folder, runtime=runtime, precision="fp32")
    texts = ["a cat", "", " two\n\nlines  of a text ", "the dog " * 30]
    assert ours.dimension == 40
    assert ours.max_length == POSITIONS
    for text, found in zip(texts, ours.encode_documents(texts), strict=True):
        ids = tokenizer(prompt + text, return_tensors="pt", truncation=True, max_length=POSITIONS)["input_ids"]
        with torch.no_grad():
            hidden = model(input_ids=ids).last_hidden_state
        expected = torch.nn.functional.normalize(hidden.mean(dim=1))[0].numpy()
        assert np.abs(found - expected).max() <= 1e-5


def _write_qwen2_tokenizer(folder):
    """Write a byte-level tokenizer that puts an end behind each text and pads in front, as Qwen3-Embedding's does."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(tokenizers.models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|endoftext|>", "<|im_end|>"])
    end = ("<|endoftext|>", made.token_to_id("<|endoftext|>"))
    made.post_processor = tokenizers.processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[end])
    made.save(str(folder / "tokenizer.json"))
    described = {"tokenizer_class": "Qwen2Tokenizer", "pad_token": end[0], "eos_token": "<|im_end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**described, "padding_side": "left"}))


class _LastHiddenState(torch.nn.Module):
    """A transformers encoder with the three inputs and the one output of an export."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state


@foreign_tracing
def test_an_onnx_export_gives_the_vectors_of_its_source(tmp_path, minilm):
    """`onnx/model.onnx` as torch writes it, pooled here."""
    pytest.importorskip("onnxscript", reason="onnxscript is in the reference environment only")
    source = find_model(minilm).path
    model = transformers.AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    ids = torch.randint(1000, 2000, (2, 12))
    (tmp_path / "onnx").mkdir()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        _LastHiddenState(model),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(tmp_path / "onnx" / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_shapes=[{0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}] * 3,
        dynamo=True,
    )
    _copy_metadata(source, tmp_path)
    exported = Encoder.load(tmp_path, precision="fp32").encode_documents(TEXTS)
    built = Encoder.load(minilm, precision="fp32").encode_documents(TEXTS)
    assert np.abs(exported - built).max() <= 1e-5


def _copy_metadata(source, target):
    for name in ("config.json", "tokenizer.json", "sentence_bert_config.json", "modules.json", "1_Pooling/config.json"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes((source / name).read_bytes())


@pytest.mark.slow
@foreign_tracing
def test_optimum_intels_own_export_opens(tmp_path, minilm):
    """`openvino/openvino_model.xml` of an architecture that is also built in gives the same vectors."""
    pytest.importorskip("optimum.intel", reason="optimum-intel is in the reference environment only")
    exported = Encoder.load(export(minilm, tmp_path / "out"), precision="fp32").encode_documents(TEXTS)
    built = Encoder.load(minilm, precision="fp32").encode_documents(TEXTS)
    assert np.abs(exported - built).max() <= 1e-5


@pytest.fixture
def albert(tmp_path):
    """A model of an architecture that is not built in."""
    torch.manual_seed(0)
    sizes = {**SIZES, "embedding_size": 16}
    model = transformers.AlbertModel(transformers.AlbertConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(tmp_path / "albert")
    write_tiny_tokenizer(tmp_path / "albert" / "tokenizer.json")
    (tmp_path / "albert" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 64})
    )
    return model, tmp_path / "albert"


def test_another_architecture_is_refused_with_the_way_out(albert):
    with pytest.raises(UnsupportedModelError, match=r"'albert'.*iqe export"):
        Encoder.load(albert[1], precision="fp32", pooling="mean")


@foreign_tracing
def test_another_architecture_works_once_exported(albert, tmp_path):
    """The way out that the error names: convert, load, and quantize like any other."""
    pytest.importorskip("optimum.intel", reason="optimum-intel is in the reference environment only")
    model, folder = albert
    exported = export(folder, tmp_path / "out")
    ours = Encoder.load(exported, precision="fp32", pooling="mean")
    texts = ["the cat sat on the mat", "a", "stone " * 30]
    for text, found in zip(texts, ours.encode_documents(texts), strict=True):
        ids = torch.tensor(Tokenizer(folder / "tokenizer.json", max_length=64).encode([text]).token_ids)
        with torch.no_grad():
            hidden = model(input_ids=ids).last_hidden_state
        expected = torch.nn.functional.normalize(hidden.mean(dim=1))[0].numpy()
        assert np.abs(found - expected).max() <= 1e-5
    report = quantize(exported, tmp_path / "int8", pooling="mean", search=False)
    assert report.fidelity.documents.mean > 0.99
    assert Encoder.load(tmp_path / "int8").dimension == 32


def test_the_stored_reference_vectors_are_those_of_sentence_transformers(minilm):
    """What test_reference_vectors.py compares with in environments that have no torch."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    stored = json.loads((Path(__file__).parent / "reference_vectors.json").read_text("utf-8"))
    theirs = sentence_transformers.SentenceTransformer(str(find_model(minilm).path), device="cpu")
    assert np.abs(theirs.encode(stored["texts"]) - np.array(stored["vectors"])).max() <= 1e-5


def _ragged(*, pad_token_id):
    """A row of each of `LENGTHS`, padded at the right."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, VOCABULARY, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = (torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]).to(torch.int64)
    return torch.where(mask == 1, ids, pad_token_id), mask


def _batch(length, padding, *, pad_token_id):
    """Four rows, the first full, the others with more and more padding at one side."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(5, VOCABULARY, (4, length), generator=generator)
    mask = torch.ones_like(ids)
    for row in range(1, 4):
        absent = min(length - 1, row * length // 5)
        if padding == "none" or absent == 0:
            continue
        start = {"right": length - absent, "left": 0, "middle": (length - absent) // 2}[padding]
        ids[row, start : start + absent] = pad_token_id
        mask[row, start : start + absent] = 0
    return ids, mask


def _pooled(hidden, mask, pooling):
    if pooling is Pooling.CLS:
        return hidden[:, 0]
    if pooling is Pooling.LAST:
        last = (mask * torch.arange(mask.shape[1])).argmax(dim=1)
        return hidden[torch.arange(len(hidden)), last]
    weights = mask.unsqueeze(-1).float()
    if pooling is Pooling.MAX:
        return hidden.masked_fill(weights == 0, float("-inf")).amax(dim=1)
    if pooling is Pooling.WEIGHTED_MEAN:
        weights = weights * weights.cumsum(dim=1)
    size = weights.sum(dim=1)
    return (hidden * weights).sum(dim=1) / (size.sqrt() if pooling is Pooling.MEAN_SQRT_LENGTH else size)
