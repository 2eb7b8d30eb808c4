"""A family is one module and one row: what it says holds together, and nobody else knows its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings.architectures import Activation, EncoderConfig, hidden_size, text_part
from intel_quantized_embeddings.architectures.description import Heads, LayerKind, Part, Rotary
from intel_quantized_embeddings.architectures.relative_bias import alibi_slopes
from intel_quantized_embeddings.architectures.table import ARCHITECTURES, BUILT_IN
from intel_quantized_embeddings.errors import DamagedFilesError, UnsupportedModelError

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "intel_quantized_embeddings"

# Where a family is not in a module of its name.
_MODULES = {"nomic_bert": "nomic", "jina_embeddings_v3": "jina_v3", "eurobert": "llama", "gemma3_text": "gemma3"}

every_family = pytest.mark.parametrize("family", ARCHITECTURES, ids=lambda family: family.name)

# As transformers 5.24 writes them, cut down to what decides: all-MiniLM-L6-v2's sizes, and two odd ones.
_WRITTEN = {
    "bert": {
        "hidden_act": "gelu_new",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
        "vocab_size": 30522,
    },
    "distilbert": {
        "activation": "gelu_new",
        "dim": 384,
        "hidden_dim": 1536,
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "n_heads": 12,
        "n_layers": 6,
        "vocab_size": 30522,
    },
}
_WRITTEN["mpnet"] = {**_WRITTEN["bert"], "relative_attention_num_buckets": 32}
_WRITTEN |= dict.fromkeys(
    ("roberta", "xlm-roberta", "camembert", "nomic_bert", "gte", "new", "electra", "jina_embeddings_v3"),
    _WRITTEN["bert"],
)
_WRITTEN["modernbert"] = {**_WRITTEN["bert"], "hidden_activation": "gelu_new", "norm_eps": 1e-6}
_WRITTEN |= {key: {**_WRITTEN["bert"], "rms_norm_eps": 1e-6} for key in ("llama", "eurobert", "qwen3")}
_WRITTEN["jina_bert"] = {**_WRITTEN["bert"], "position_embedding_type": "alibi", "feed_forward_type": "reglu"}
_WRITTEN["gemma3_text"] = {**_WRITTEN["llama"], "hidden_activation": "gelu_new"}
_WRITTEN |= {
    key: {**_WRITTEN["gemma3_text"], "hidden_size_per_layer_input": 128, "embedding_dim": 768}
    for key in ("embedding_gemma2", "embedding_gemma2_text")
}


def test_every_architecture_that_is_built_in_is_tried_here():
    assert tuple(sorted(_WRITTEN)) == BUILT_IN


@pytest.mark.parametrize("model_type", _WRITTEN)
def test_what_transformers_writes_is_read(model_type):
    """Sizes under each family's own keys, and what holds where none of them says it."""
    config = EncoderConfig.from_hf({"model_type": model_type, **_WRITTEN[model_type]}, where="it")
    assert (config.vocab_size, config.hidden_size, config.num_layers) == (30522, 384, 6)
    assert (config.num_heads, config.heads[0].size, config.intermediate_size) == (12, 32, 1536)
    assert config.activation is (Activation.RELU if model_type == "jina_bert" else Activation.GELU_TANH)
    assert config.layer_norm_eps == (1e-12 if model_type == "distilbert" else 1e-6)
    assert config.embedding_size == (128 if model_type == "electra" else 384)
    counted_after_padding = model_type in ("roberta", "xlm-roberta", "camembert", "mpnet")
    pads_with_1 = counted_after_padding or model_type == "jina_embeddings_v3"
    assert (config.pad_token_id, config.first_position, config.max_length) == (
        int(pads_with_1),
        *((2, 510) if counted_after_padding else (0, 512)),
    )
    assert config.relative_attention_buckets == (32 if model_type == "mpnet" else 0)


def test_what_no_key_says_is_the_familys():
    plain = {key: value for key, value in _WRITTEN["bert"].items() if key not in ("hidden_act", "layer_norm_eps")}
    config = EncoderConfig.from_hf({"model_type": "mpnet", **plain}, where="it")
    assert (config.activation, config.layer_norm_eps, config.relative_attention_buckets) == (
        Activation.GELU,
        1e-12,
        32,
    )


@pytest.mark.parametrize(
    ("model_type", "said"),
    [
        ("deberta-v2", r"contents and of positions apart.*iqe export"),
        ("unheard_of", r"\)\. Convert it to OpenVINO once.*iqe export"),
    ],
)
def test_what_is_not_built_in_is_refused_with_a_reason_and_a_way_out(model_type, said):
    with pytest.raises(UnsupportedModelError, match=f"'{model_type}'.*not built in.*{said}"):
        EncoderConfig.from_hf({**_WRITTEN["bert"], "model_type": model_type}, where="it")


@every_family
def test_what_a_family_says_holds_together(family):
    """A flag has its tensor and its key, and a family has its model types alone."""
    of_others = {name for other in ARCHITECTURES if other is not family for name in other.model_types}
    assert not of_others & set(family.model_types)
    has_buckets = family.block.relative_attention_buckets > 0
    assert has_buckets == (family.weights.relative_attention_bias is not None)


@every_family
def test_only_the_table_and_other_families_know_a_family(family):
    """Readers and builders ask the description."""
    module = f"architectures.{_MODULES.get(family.name, family.name)} "
    knowing = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*.py") if module in file.read_text()}
    families = {f"architectures/{_MODULES.get(one.name, one.name)}.py" for one in ARCHITECTURES}
    assert "architectures/table.py" in knowing
    assert knowing <= {"architectures/table.py", *families}


# --- spellings ---------------------------------------------------------------------------------


def _read(model_type, **more):
    return EncoderConfig.from_hf({"model_type": model_type, **_WRITTEN[model_type], **more}, where="it")


def test_modernberts_two_spellings_are_one():
    """transformers 5 lists layers; before it every n-th was global, and a null theta was that of global layers."""
    names = ["full_attention", "sliding_attention"] * 3
    rope = {"full_attention": {"rope_theta": 5e4, "rope_type": "default"}, "sliding_attention": {"rope_theta": 7e3}}
    new = _read("modernbert", layer_types=names, rope_parameters=rope, local_attention=32)
    old = _read(
        "modernbert",
        global_attn_every_n_layers=2,
        global_rope_theta=5e4,
        local_rope_theta=7e3,
        local_attention=32,
    )
    assert new == old
    assert new.layers[:2] == (
        LayerKind(rotary=Rotary(5e4)),
        LayerKind(before=16, after=16, rotary=Rotary(7e3)),
    )
    plain = _read("modernbert")
    assert plain.rotaries == (Rotary(160_000.0), Rotary(10_000.0))
    assert [kind.before for kind in plain.layers] == [None, 64, 64] * 2
    assert _read("modernbert", local_rope_theta=None, global_rope_theta=9.0).rotaries == (Rotary(9.0),)


def test_biases_are_where_the_configuration_says():
    assert _read("modernbert").block.biases == frozenset()
    assert _read("modernbert", norm_bias=True, mlp_bias=True).block.biases == {
        Part.NORM,
        Part.INTERMEDIATE,
        Part.OUTPUT,
    }
    assert _read("qwen3", attention_bias=True).block.biases == {Part.QKV, Part.ATTENTION_OUTPUT}
    with pytest.raises(DamagedFilesError, match="norm_bias='yes'; true or false"):
        _read("modernbert", norm_bias="yes")


def test_nomics_keys_of_gpt2_mean_the_same():
    sizes = {"n_embd": 384, "n_layer": 6, "n_head": 12, "n_inner": 1536, "n_positions": 512, "vocab_size": 30522}
    hub = {**sizes, "activation_function": "swiglu", "layer_norm_epsilon": 1e-6, "rotary_emb_base": 1000}
    code = {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"}
    read = EncoderConfig.from_hf({"model_type": "nomic_bert", **hub, "auto_map": code}, where="it")
    assert read == _read("nomic_bert", hidden_act="silu")
    assert read.rotaries == (Rotary(1000.0),)


@pytest.mark.parametrize("where", ["", "jinaai/jina-bert-implementation--", "jinaai/jina-reranker-v1-tiny-en--"])
def test_the_hubs_jina_is_a_bert_with_a_bias(where):
    """Of its own code, in the repository or another; that of the code model is another variant."""
    alibi = {"position_embedding_type": "alibi", "feed_forward_type": "geglu"}
    classes = {"AutoConfig": "configuration_bert.JinaBertConfig", "AutoModel": "modeling_bert.JinaBertModel"}
    hub = _read("bert", **alibi, auto_map={name: where + of for name, of in classes.items()})
    assert hub == _read("jina_bert", feed_forward_type="geglu")
    assert hub.block.alibi
    with pytest.raises(UnsupportedModelError, match="repository's own code"):
        _read("bert", **alibi, auto_map={"AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"})
    with pytest.raises(UnsupportedModelError, match=r"activation 'original'.*\(feed_forward_type\)"):
        _read("bert", **alibi | {"feed_forward_type": "original"})


def test_slopes_of_heads_are_those_of_the_paper():
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    assert alibi_slopes(12).tolist() == [2.0**-i for i in range(1, 9)] + [
        float(np.float32(2.0**-i)) for i in (0.5, 1.5, 2.5, 3.5)
    ]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rotary_scaling_factor", 2.0, "up to 2,048 tokens it changes nothing"),
        ("rotary_emb_fraction", 0.5, "all of a head"),
        ("num_experts", 8, "mixture of experts"),
        ("prenorm", True, "variant of NomicBERT"),
        ("auto_map", {"AutoModel": "somebody/else--modeling.Model"}, "repository's own code"),
    ],
)
def test_what_is_no_nomic_of_ours_is_refused_by_name(key, value, said):
    with pytest.raises(UnsupportedModelError, match=rf"{key}=.*{said}"):
        _read("nomic_bert", **{key: value})


def test_the_hubs_gte_stretches_its_positions():
    """Its class multiplies the base and divides every angle; transformers' class knows one base."""
    hub = _read("new", rope_theta=20_000, rope_scaling={"type": "ntk", "factor": 8.0}, position_embedding_type="rope")
    assert hub.rotaries == (Rotary(20_000.0, ntk=8.0),)
    assert _read("gte").rotaries == (Rotary(160_000.0),)
    arctic = {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    }
    assert _read("gte", auto_map=arctic) == _read("gte")
    assert not _read("gte", type_vocab_size=0).block.token_types
    with pytest.raises(UnsupportedModelError, match="scales rotary positions by 'yarn'"):
        _read("gte", rope_scaling={"rope_type": "yarn", "factor": 4.0})


def test_a_decoder_is_causal_unless_it_says_otherwise():
    assert {(kind.before, kind.after) for kind in _read("qwen3").layers} == {(None, 0)}
    assert {(kind.before, kind.after) for kind in _read("qwen3", is_causal=False).layers} == {(None, None)}
    assert {(kind.before, kind.after) for kind in _read("eurobert").layers} == {(None, None)}


def test_gemmas_windows_are_halved_where_it_looks_both_ways():
    kinds = [(kind.before, kind.after) for kind in _read("gemma3_text", sliding_window=512).layers]
    assert kinds == [(511, 0)] * 5 + [(None, 0)]
    both_ways = _read("gemma3_text", sliding_window=512, use_bidirectional_attention=True)
    assert [(kind.before, kind.after) for kind in both_ways.layers] == [(256, 256)] * 5 + [(None, None)]
    assert both_ways.embedding_factor == 384**0.5
    with pytest.raises(UnsupportedModelError, match="attn_logit_softcapping=50"):
        _read("gemma3_text", attn_logit_softcapping=50.0)


def test_gemmas_scale_is_transformers_own_where_no_file_says_it():
    """256, whatever a head's size; the head's size gave other vectors without a word."""
    assert _read("gemma3_text").attention_scale == 256**-0.5
    assert _read("gemma3_text", query_pre_attn_scalar=24).attention_scale == 24**-0.5


def test_embedding_gemma_2_has_wider_heads_where_a_layer_sees_all():
    """As `per_layer_config` says, whose numbers transformers pads with zeros; without it 512 wide with one of keys."""
    usual = Heads(size=64, keys=3)
    keys = {"head_dim": 64, "num_key_value_heads": 3, "sliding_window_pattern": 3}
    plain = _read("embedding_gemma2_text", **keys)
    assert plain.heads == (usual, usual, Heads(size=512, keys=1)) * 2
    named = _read("embedding_gemma2_text", **keys, global_head_dim=128, num_global_key_value_heads=4)
    assert set(named.heads) == {usual, Heads(size=128, keys=4)}
    listed = {"per_layer_config": {"02": {"head_dim": 32, "num_key_value_heads": 1}, "05": {"head_dim": 96}}}
    own = _read("embedding_gemma2_text", **keys, **listed, global_head_dim=128)
    assert own.heads == (usual, usual, Heads(size=32, keys=1), usual, usual, Heads(size=96, keys=3))
    assert set(_read("embedding_gemma2_text", **keys, per_layer_config={}).heads) == {usual}


def test_embedding_gemma_2s_window_is_its_reach_and_its_last_layer_sees_all():
    """`sliding_window` counts each side; `use_bidirectional_attention` has no effect, nor has it in transformers."""
    config = _read("embedding_gemma2_text", sliding_window=512, use_bidirectional_attention=False)
    assert [(kind.before, kind.after) for kind in config.layers] == [(512, 512)] * 5 + [(None, None)]
    listed = _read("embedding_gemma2_text", layer_types=["full_attention"] * 2 + ["sliding_attention"] * 4)
    assert [kind.before for kind in listed.layers] == [None, None, 512, 512, 512, None]
    assert listed.rotaries == (Rotary(1_000_000.0), Rotary(10_000.0))
    assert (config.attention_scale, config.embedding_factor, config.output_size) == (1, 384**0.5, 768)
    assert config.max_length == 512
    # transformers' default, of which tables of angles would have 400 MB; the models are made for 8,192 tokens.
    assert _read("embedding_gemma2_text", max_position_embeddings=262_144).max_length == 8192


def test_of_a_model_that_takes_images_too_the_texts_encoder_is_read():
    text = {"model_type": "embedding_gemma2_text", **_WRITTEN["embedding_gemma2_text"]}
    whole = {"model_type": "embedding_gemma2", "text_config": text, "vision_config": {"hidden_size": 96}}
    config = text_part(whole)
    assert config["model_type"] == "embedding_gemma2"
    assert EncoderConfig.from_hf(config, where="it") == EncoderConfig.from_hf(text, where="it")
    assert hidden_size(config) == 768
    assert text_part(text) == text


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        (
            {"per_layer_config": {"0": {"intermediate_size": 9}}},
            UnsupportedModelError,
            "'intermediate_size' in",
        ),
        (
            {"per_layer_config": {"6": {"head_dim": 64}}},
            DamagedFilesError,
            "'6' in per_layer_config; the 6 layers",
        ),
        ({"per_layer_config": {"all": {}}}, DamagedFilesError, "the layer 'all' in per_layer_config"),
        ({"per_layer_config": {"0": {"head_dim": 33}}}, DamagedFilesError, "heads of 33 numbers"),
        (
            {"per_layer_config": {"0": {"num_key_value_heads": 5}}},
            DamagedFilesError,
            "12 heads of queries do not divide",
        ),
        ({"embedding_dim": None}, DamagedFilesError, "embedding_dim=None"),
        ({"hidden_size_per_layer_input": 0}, DamagedFilesError, "hidden_size_per_layer_input=0"),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25}}},
            UnsupportedModelError,
            "partial_rotary_factor=0.25",
        ),
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, UnsupportedModelError, "rope_scaling="),
    ],
)
def test_what_is_no_embedding_gemma_2_of_ours_is_refused_by_name(more, error, said):
    with pytest.raises(error, match=said):
        _read("embedding_gemma2_text", **more)


def test_other_numbers_of_mpnets_buckets_are_refused():
    """transformers counts 32 whatever the file says, so that what it trained with 64 has the last 32 unused."""
    with pytest.raises(UnsupportedModelError, match=r"relative_attention_num_buckets=64; .*counts 32"):
        _read("mpnet", relative_attention_num_buckets=64)


def test_windows_are_not_llamas():
    """transformers passes their keys over in a Llama's file; obeyed, they gave other vectors without a word."""
    keys = {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 0}
    assert _read("llama", **keys, layer_types=["sliding_attention"] * 6).layers == _read("llama").layers
    assert {kind.after for kind in _read("llama").layers} == {0}
    assert {kind.after for kind in _read("llama", is_causal=False).layers} == {None}


def test_jinas_adapters_are_refused_with_the_way_out():
    assert _read("jina_embeddings_v3").rotaries == (Rotary(20_000.0),)
    for key, value in (("lora_adaptations", ["retrieval.query"]), ("load_trained_adapters", True)):
        with pytest.raises(UnsupportedModelError, match=rf"{key}=.*adapter for each task.*merge_and_unload"):
            _read("jina_embeddings_v3", **{key: value})


def test_heads_that_do_not_divide_are_named():
    assert _read("llama", num_key_value_heads=3, head_dim=64).heads == (Heads(size=64, keys=3),) * 6
    with pytest.raises(DamagedFilesError, match="12 heads of queries do not divide into 5"):
        _read("llama", num_key_value_heads=5)


@pytest.mark.parametrize(
    ("model_type", "more", "said"),
    [
        ("qwen3", {"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "scales rotary positions by 'yarn'"),
        ("qwen3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "scales rotary positions by 'linear'"),
        ("llama", {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}}, "all of a head is turned"),
        ("llama", {"rope_parameters": {}, "rope_scaling": {"type": "ntk", "factor": 2.0}}, "has both"),
        (
            "modernbert",
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_scaling=.*not built in for this family",
        ),
        ("gemma3_text", {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}, "rope_scaling=.*for this family"),
    ],
)
def test_positions_that_are_scaled_otherwise_are_refused(model_type, more, said):
    """Where they are not read they would load without complaint and give other vectors."""
    with pytest.raises(UnsupportedModelError, match=said):
        _read(model_type, **more)


def test_a_factor_counts_wherever_it_stands():
    inside = {"rope_parameters": {"rope_theta": 2e4, "rope_type": "ntk", "factor": 8.0}}
    assert _read("gte", **inside).rotaries == (Rotary(2e4, ntk=8.0),)
    assert _read("gte", rope_theta=2e4, rope_scaling={"type": "ntk", "factor": 8.0}).rotaries == (Rotary(2e4, ntk=8.0),)
    with pytest.raises(DamagedFilesError, match="gives no factor"):
        _read("gte", rope_parameters={"rope_type": "ntk"})


def test_a_decoders_windows_are_read_in_both_spellings():
    named = ["full_attention"] * 4 + ["sliding_attention"] * 2
    listed = _read("qwen3", layer_types=named, use_sliding_window=True, sliding_window=100)
    older = _read("qwen3", use_sliding_window=True, sliding_window=100, max_window_layers=4)
    assert listed == older
    assert [kind.before for kind in older.layers] == [None] * 4 + [99] * 2
    assert _read("qwen3", sliding_window=100, max_window_layers=0).layers == _read("qwen3").layers
    with pytest.raises(DamagedFilesError, match="max_window_layers=-1"):
        _read("qwen3", use_sliding_window=True, sliding_window=100, max_window_layers=-1)


@pytest.mark.parametrize("keys", [{}, {"use_sliding_window": False}, {"use_sliding_window": True}], ids=str)
def test_a_window_that_is_named_and_not_given_is_refused(keys):
    """transformers loads such a Qwen3, drops its window, and fails at the first text."""
    named = ["full_attention"] * 4 + ["sliding_attention"] * 2
    window = None if keys.get("use_sliding_window") else 100
    with pytest.raises(UnsupportedModelError, match=r"sliding_attention in layer_types.*use_sliding_window"):
        _read("qwen3", layer_types=named, sliding_window=window, **keys)
    assert (
        _read("qwen3", layer_types=["full_attention"] * 6, sliding_window=100, **keys).layers == _read("qwen3").layers
    )


def test_heads_of_keys_and_their_sizes():
    assert _read("llama", num_key_value_heads=None).heads[0].keys == 12
    with pytest.raises(DamagedFilesError, match="heads of 33 numbers"):
        _read("llama", head_dim=33)


def test_the_width_is_found_under_any_name():
    assert hidden_size({"model_type": "nomic_bert", "n_embd": 768}) == 768
    assert hidden_size({"model_type": "distilbert", "dim": 384}) == 384
    assert hidden_size({"model_type": "t5", "d_model": 512}) == 512
    assert hidden_size({"model_type": "bert", "hidden_size": True}) is None
