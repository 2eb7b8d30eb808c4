"""What a cross-encoder keeps to in every precision, and what its int8 folders hold."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from intel_quantized_embeddings import CrossEncoder, Encoder, quantize, quantize_cross_encoder
from intel_quantized_embeddings.architectures.table import ARCHITECTURES
from intel_quantized_embeddings.cli import main
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    InvalidTextError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.int8_folder.config import QuantizationConfig
from intel_quantized_embeddings.int8_folder.manifest import CrossEncoderManifest
from intel_quantized_embeddings.options import Precision
from intel_quantized_embeddings.runtimes.bfloat16 import has_bfloat16
from support.cpu_kinds import fails_where_onednn_is_limited
from support.few_texts import FEW
from support.logged import messages
from support.tiny_models import VOCABULARY, write_tiny_cross_encoder

WORDS = [word for word in VOCABULARY if word.isalpha() and len(word) > 2]
PAIRS = [
    ("what does the green model vector mean?", "the cat sat on the red mat"),
    ("", ""),
    ("stone " * 60, "water"),
    ("water", "stone " * 60),
    ("a small house", "in the old city, on a cold river; music and light"),
]
BULK = [(f"{'stone ' * (number % 50)}water {number}", f"fire {number % 7}") for number in range(300)]


@pytest.fixture(scope="module", params=Precision, ids=lambda precision: precision.value)
def cross_encoder(request, tiny_cross_encoder, tiny_cross_encoder_int8) -> CrossEncoder:
    precision = request.param
    if precision is Precision.BF16 and not has_bfloat16():
        pytest.skip("this CPU has no bfloat16 instructions")
    folder = tiny_cross_encoder_int8 if precision is Precision.INT8 else tiny_cross_encoder
    runtime = "openvino" if precision is Precision.BF16 else None  # the engine has no bfloat16
    return CrossEncoder.load(folder, runtime=runtime, precision=precision.value, num_threads=2)


def is_int8(cross_encoder: CrossEncoder) -> bool:
    return "int8" in cross_encoder.fingerprint


def test_there_is_a_score_for_every_pair_in_order(cross_encoder):
    scores = cross_encoder.score(PAIRS)
    assert scores.shape == (len(PAIRS),)
    assert scores.dtype == np.float32
    assert ((scores > 0) & (scores < 1)).all()
    assert np.ptp(scores) > 0.05
    alone = np.concatenate([cross_encoder.score([pair]) for pair in PAIRS])
    np.testing.assert_allclose(scores, alone, rtol=0, atol=0 if is_int8(cross_encoder) else 2e-2)


def test_bulk_agrees_with_pairs_alone_and_any_iterable_will_do(cross_encoder):
    bulk = cross_encoder.score(pair for pair in BULK)
    alone = np.concatenate([cross_encoder.score([pair]) for pair in BULK[::7]])
    np.testing.assert_allclose(bulk[::7], alone, rtol=0, atol=0 if is_int8(cross_encoder) else 2e-2)
    np.testing.assert_allclose(
        cross_encoder.score(BULK[::-1])[::-1], bulk, rtol=0, atol=0 if is_int8(cross_encoder) else 2e-2
    )


def test_which_text_is_first_matters(cross_encoder):
    """Token types tell the two apart."""
    one, other = cross_encoder.score([("red stone", "red stone"), ("red", "stone red stone")])
    assert one != other


def test_no_pairs_give_no_scores(cross_encoder):
    assert cross_encoder.score([]).shape == (0,)


def test_several_threads_may_score_at_once(cross_encoder):
    expected = cross_encoder.score(PAIRS)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(cross_encoder.score, PAIRS) for _ in range(40)]
    assert all(np.array_equal(job.result(), expected) for job in jobs)


def test_it_pickles_as_how_it_was_loaded(cross_encoder):
    again = pickle.loads(pickle.dumps(cross_encoder))
    assert again.fingerprint == cross_encoder.fingerprint
    assert np.array_equal(again.score(PAIRS), cross_encoder.score(PAIRS))


def test_what_is_cut_is_said_once_a_call(cross_encoder, caplog):
    with caplog.at_level("WARNING"):
        cross_encoder.score([("stone " * 500, "short"), ("short", "short")])
    assert [record.getMessage() for record in caplog.records] == [
        f"1 of 2 pairs are longer than {cross_encoder.max_length} tokens; what is beyond was cut"
    ]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("ab", r"pairs is 'ab'; a list of \(query, document\)"),
        (7, "pairs is 7"),
        ([("a", "b"), "ab"], "pair 1 is 'ab'"),
        ([("a", "b", "c")], "pair 0 is"),
        ([("a", None)], "the document of pair 0 is None"),
        ([("a", "b"), ("a", "x\ud800")], "the document of pair 1 has the lone surrogate"),
    ],
)
def test_what_is_no_pair_of_texts_is_refused(cross_encoder, pairs, message):
    with pytest.raises(InvalidTextError, match=message):
        cross_encoder.score(pairs)


def test_int8_ranks_as_fp32_does(tiny_cross_encoder, tiny_cross_encoder_int8):
    random = np.random.default_rng(0)
    pairs = [(" ".join(random.choice(WORDS, 4)), " ".join(random.choice(WORDS, 12))) for _ in range(300)]
    int8 = CrossEncoder.load(tiny_cross_encoder_int8).score(pairs)
    fp32 = CrossEncoder.load(tiny_cross_encoder, precision="fp32").score(pairs)
    ranks = [np.argsort(np.argsort(scores)) for scores in (int8, fp32)]
    assert np.corrcoef(*ranks)[0, 1] > 0.93
    assert np.abs(int8 - fp32).max() < 0.1


class TestFolders:
    def test_the_manifest_says_how_faithful_it_is(self, tiny_cross_encoder_int8):
        manifest = CrossEncoderManifest.read(tiny_cross_encoder_int8)
        assert manifest.fidelity.rank_correlation > 0.97
        assert 0 < manifest.fidelity.mean_difference < manifest.fidelity.largest_difference
        assert manifest.fidelity.spread > 2 * manifest.fidelity.mean_difference
        assert manifest.method.name == "per-token"
        assert f"{manifest.fidelity.rank_correlation:.4f}" in (tiny_cross_encoder_int8 / "README.md").read_text("utf-8")

    def test_a_changed_file_is_found(self, tiny_cross_encoder_int8, tmp_path):
        folder = shutil.copytree(tiny_cross_encoder_int8, tmp_path / "copy")
        with (folder / "encoder.safetensors").open("ab") as opened:
            opened.write(b"x")
        with pytest.raises(DamagedFilesError, match=r"encoder\.safetensors has changed"):
            CrossEncoder.load(folder)

    @pytest.mark.usefixtures("quick_quantizing")
    def test_an_fp32_model_is_quantized_on_first_use_for_openvino(self, tiny_cross_encoder, tmp_path, caplog):
        with caplog.at_level("WARNING"):
            first = CrossEncoder.load(tiny_cross_encoder, runtime="openvino", cache_folder=tmp_path)
        assert re.search(r"scores beside fp32: rank correlation (0\.9|1\.0)", caplog.text)
        caplog.clear()
        second = CrossEncoder.load(tiny_cross_encoder, runtime="openvino", cache_folder=tmp_path)
        assert messages(caplog) == []
        assert first.fingerprint == second.fingerprint
        assert np.array_equal(first.score(PAIRS), second.score(PAIRS))

    def test_the_command_quantizes_it(self, tiny_cross_encoder, tmp_path, capsys):
        arguments = ["quantize", str(tiny_cross_encoder), str(tmp_path / "out"), "--no-search", "--max-length", "40"]
        assert main(arguments) == 0
        assert re.search(r"scores beside fp32: rank correlation (0\.9|1\.0)", capsys.readouterr().out)
        assert CrossEncoder.load(tmp_path / "out").max_length == 40

    @pytest.mark.parametrize(
        "options", [["--pooling", "cls"], ["--runtime", "ipex"], ["--max-drop", "0.1"], ["--query-instruction", "q"]]
    )
    def test_the_command_refuses_what_means_nothing_to_it(self, tiny_cross_encoder, tmp_path, options, capsys):
        assert main(["quantize", str(tiny_cross_encoder), str(tmp_path / "out"), *options]) == 1
        assert "cross-encoder" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    @fails_where_onednn_is_limited
    def test_dynamic_int8_leaves_the_head_alone(self, tiny_cross_encoder, tmp_path):
        report = quantize_cross_encoder(tiny_cross_encoder, tmp_path / "out", runtime="openvino", method="dynamic")
        assert report.fidelity.rank_correlation > 0.97
        assert "int8-dynamic" in CrossEncoder.load(tmp_path / "out").fingerprint

    def test_layers_may_stay_in_floating_point(self, tiny_cross_encoder, tmp_path):
        (tmp_path / "how.yaml").write_text("floating_point_layers: [layer.1]\nsmooth_quant: [off]\n")
        report = quantize_cross_encoder(
            tiny_cross_encoder, tmp_path / "out", runtime="openvino", config=tmp_path / "how.yaml", **FEW
        )
        assert report.floating_point_layers == tuple(
            f"layer.1.{name}" for name in ("query", "key", "value", "attention_output", "intermediate", "output")
        )

    def test_a_limit_to_the_loss_is_refused(self, tiny_cross_encoder, tmp_path):
        with pytest.raises(OptionError, match=r"max_drop=0\.01 is for models that make embeddings"):
            quantize_cross_encoder(
                tiny_cross_encoder, tmp_path / "out", runtime="openvino", config=QuantizationConfig(max_drop=0.01)
            )
        with pytest.raises(OptionError, match=r"method='qat' is for models that make embeddings"):
            quantize_cross_encoder(tiny_cross_encoder, tmp_path / "out", runtime="openvino", method="qat")

    def test_each_kind_of_folder_names_the_loader_of_the_other(
        self, tiny, tiny_int8, tiny_cross_encoder, tiny_cross_encoder_int8, tmp_path
    ):
        with pytest.raises(UnsupportedModelError, match=r"CrossEncoder\.load"):
            Encoder.load(tiny_cross_encoder_int8)
        with pytest.raises(UnsupportedModelError, match=r"CrossEncoder\.load"):
            Encoder.load(tiny_cross_encoder, precision="fp32")
        named_like_another = shutil.copytree(tiny_cross_encoder, tmp_path / "bge-small-en-reranker")
        with pytest.raises(UnsupportedModelError, match=r"CrossEncoder\.load"):
            Encoder.load(named_like_another, precision="fp32")
        with pytest.raises(UnsupportedModelError, match=r"Encoder\.load"):
            CrossEncoder.load(tiny_int8)
        with pytest.raises(UnsupportedModelError, match=r"modules.*Pooling"):
            CrossEncoder.load(tiny, precision="fp32")
        with pytest.raises(UnsupportedModelError, match="quantize_cross_encoder"):
            quantize(tiny_cross_encoder, tmp_path / "out")


class TestSettings:
    @pytest.mark.parametrize("family", [one for one in ARCHITECTURES if one.head], ids=lambda family: family.name)
    def test_every_family_scores(self, family, tmp_path):
        folder = write_tiny_cross_encoder(tmp_path / family.name, family=family)
        assert np.ptp(CrossEncoder.load(folder, precision="fp32").score(PAIRS)) > 0

    def test_the_activation_is_the_models(self, tiny_cross_encoder, tmp_path):
        """Identity where the model names it, in any of three places; sigmoid where it names nothing."""
        sigmoid = CrossEncoder.load(tiny_cross_encoder, precision="fp32").score(PAIRS)
        folder = write_tiny_cross_encoder(tmp_path / "plain", activation="torch.nn.modules.linear.Identity")
        plain = CrossEncoder.load(folder, precision="fp32").score(PAIRS)
        np.testing.assert_allclose(1 / (1 + np.exp(-plain)), sigmoid, atol=1e-6)
        config = json.loads((folder / "config.json").read_text())
        del config["sentence_transformers"]
        config["sbert_ce_default_activation_function"] = "torch.nn.modules.linear.Identity"
        (folder / "config.json").write_text(json.dumps(config))
        assert np.array_equal(CrossEncoder.load(folder, precision="fp32").score(PAIRS), plain)
        (folder / "config_sentence_transformers.json").write_text('{"activation_fn": "torch.nn.Sigmoid"}')
        assert np.array_equal(CrossEncoder.load(folder, precision="fp32").score(PAIRS), sigmoid)

    def test_an_int8_folder_keeps_the_activation(self, tmp_path):
        folder = write_tiny_cross_encoder(tmp_path / "plain", activation="torch.nn.modules.linear.Identity")
        int8 = CrossEncoder.load(quantize_cross_encoder(folder, tmp_path / "int8", search=False).folder)
        assert int8.score(PAIRS).min() < 0 or int8.score(PAIRS).max() > 1

    def test_what_is_not_built_in_is_refused(self, tmp_path):
        several = write_tiny_cross_encoder(tmp_path / "several", labels=3)
        with pytest.raises(UnsupportedModelError, match="gives 3 scores"):
            CrossEncoder.load(several, precision="fp32")
        other = write_tiny_cross_encoder(tmp_path / "other", activation="torch.nn.modules.activation.Tanh")
        with pytest.raises(UnsupportedModelError, match="Tanh'; built in are Identity and Sigmoid"):
            CrossEncoder.load(other, precision="fp32")
        prompted = write_tiny_cross_encoder(tmp_path / "prompted")
        (prompted / "config_sentence_transformers.json").write_text(
            '{"prompts": {"ask": "rank: "}, "default_prompt_name": "ask"}'
        )
        with pytest.raises(UnsupportedModelError, match="'rank: '"):
            CrossEncoder.load(prompted, precision="fp32")

    def test_a_model_without_a_head_is_refused(self, tmp_path, tiny):
        folder = shutil.copytree(tiny, tmp_path / "headless")
        (folder / "modules.json").unlink()
        with pytest.raises(UnsupportedModelError, match=r"no 'pooler.dense'.*Encoder\.load"):
            CrossEncoder.load(folder, precision="fp32")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_length": 5}, "max_length=5 is not allowed.*6 to 130"),
            ({"max_length": 131}, "6 to 130"),
            ({"runtime": "ipex"}, "cross-encoder.*'openvino' or 'native' only"),
            ({"precision": "int4"}, "precision='int4'"),
        ],
    )
    def test_options_out_of_range_are_refused(self, tiny_cross_encoder, options, message):
        with pytest.raises(OptionError, match=message):
            CrossEncoder.load(tiny_cross_encoder, **{"precision": "fp32", **options})
