"""TorchScript folders that others made, as optimum-intel 1.x wrote them for IPEX."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder, quantize
from intel_quantized_embeddings.errors import DamagedFilesError, OptionError, UnsupportedModelError
from intel_quantized_embeddings.quantization.calibration import built_in_texts
from support.torchscript_models import write_torchscript_folder

needs_ipex = pytest.mark.usefixtures("ipex_installed")
# torch, IPEX and transformers warn of many things while they trace and quantize; none is ours.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.ipex]

TEXTS = ["the cat sat on the mat", "", "a", "stone " * 40, "green water and cold wind"]
ALLOWED = {"runtime": "ipex", "allow_torchscript": True}


@pytest.fixture
def untouched(tiny, tmp_path) -> Path:
    """A folder that says it is TorchScript, with a file that is not: whoever opens it fails."""
    folder = tmp_path / "torchscript"
    folder.mkdir()
    config = json.loads((tiny / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "torchscript": True}))
    shutil.copyfile(tiny / "tokenizer.json", folder / "tokenizer.json")
    (folder / "pytorch_model.bin").write_bytes(b"PK not really")
    return folder


@pytest.mark.parametrize("runtime", ["native", "openvino"])
def test_other_runtimes_say_which_one_opens_it(untouched, runtime):
    with pytest.raises(UnsupportedModelError, match=r"runtime='ipex'.*that it was made from"):
        Encoder.load(untouched, runtime=runtime, pooling="cls")


@needs_ipex
def test_without_a_runtime_it_is_ipex_s(untouched):
    with pytest.raises(OptionError, match=r"TorchScript is code.*allow_torchscript=True"):
        Encoder.load(untouched, pooling="cls")


@needs_ipex
def test_code_of_others_is_not_opened_unless_allowed(untouched):
    """The file is broken, so an error about permission shows that it was not opened."""
    with pytest.raises(OptionError, match=r"TorchScript is code.*allow_torchscript=True"):
        Encoder.load(untouched, runtime="ipex", pooling="cls")


@needs_ipex
def test_a_file_that_is_no_torchscript_is_named(untouched):
    with pytest.raises(DamagedFilesError, match=r"pytorch_model\.bin can't be read as TorchScript"):
        Encoder.load(untouched, pooling="cls", **ALLOWED)


@needs_ipex
def test_pickled_weights_are_not_unpickled(untouched):
    """`torch.save` of anything is a zip like TorchScript; loading it must run nothing."""
    import torch

    class Harm:
        def __reduce__(self):
            return Path.touch, (untouched / "harmed",)

    torch.save({"weights": Harm()}, untouched / "pytorch_model.bin")
    with pytest.raises(DamagedFilesError, match=r"pytorch_model\.bin"):
        Encoder.load(untouched, pooling="cls", **ALLOWED)
    assert not (untouched / "harmed").exists()


@needs_ipex
def test_pooling_must_be_told_because_such_a_folder_does_not_say(untouched):
    with pytest.raises(OptionError, match="pooling"):
        Encoder.load(untouched, **ALLOWED)


@needs_ipex
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_published_recipes_folder_agrees_with_its_source(like_optimum_intels, pooling):
    import torch

    folder, source = like_optimum_intels
    encoder = Encoder.load(folder, pooling=pooling, max_length=256, **ALLOWED)
    texts = [*built_in_texts().documents[1::3], *built_in_texts().queries[1::3]]
    cosines = []
    for text, vector in zip(texts, encoder.encode_documents(texts), strict=True):
        ids = torch.tensor(encoder._tokenizer.encode([text]).token_ids)
        with torch.no_grad():
            hidden = source(input_ids=ids, attention_mask=torch.ones_like(ids))[0][0]
        expected = (hidden[0] if pooling == "cls" else hidden.mean(dim=0)).numpy()
        cosines.append(float(vector @ expected / np.linalg.norm(expected)))
    assert np.mean(cosines) >= 0.97


@needs_ipex
def test_both_adapters_open_it_with_one_import_changed(like_optimum_intels):
    pytest.importorskip("langchain_core")
    pytest.importorskip("llama_index.core")
    from intel_quantized_embeddings import IntelQuantizedEmbedding, IntelQuantizedEmbeddings

    folder, _ = like_optimum_intels
    bare = Encoder.load(folder, pooling="cls", **ALLOWED).encode_queries(["a cold river"])[0].tolist()
    langchain = IntelQuantizedEmbeddings(model_name=str(folder), pooling="cls", **ALLOWED)
    llama_index = IntelQuantizedEmbedding(model_name=str(folder), pooling="cls", **ALLOWED)
    assert langchain.embed_query("a cold river") == bare
    assert llama_index.get_query_embedding("a cold river") == bare


@needs_ipex
def test_it_is_int8_and_can_not_be_had_otherwise(like_optimum_intels, tmp_path):
    folder, _ = like_optimum_intels
    assert Encoder.load(folder, pooling="cls", **ALLOWED).fingerprint.startswith("ipex-int8-cls-")
    with pytest.raises(OptionError, match="computes as int8"):
        Encoder.load(folder, pooling="cls", precision="fp32", **ALLOWED)
    with pytest.raises(UnsupportedModelError, match="quantize the fp32 model it was made from"):
        quantize(folder, tmp_path / "out", pooling="cls", runtime="ipex")


def _script(tiny, wrap, prepare=lambda model: model):
    """The tiny model's encoder without pooling as TorchScript; `wrap` makes the outputs from the hidden state."""
    from intel_quantized_embeddings.architectures import EncoderConfig, Ending, load_weights
    from intel_quantized_embeddings.architectures.torch_encoder import TorchEmbedder
    from intel_quantized_embeddings.options import Pooling
    from intel_quantized_embeddings.runtimes.import_ipex import import_ipex

    import_ipex()
    import torch

    config = EncoderConfig.from_hf(json.loads((tiny / "config.json").read_text()), where="tiny")

    class Encoding(TorchEmbedder):
        def forward(self, input_ids, attention_mask, token_type_ids):
            hidden = self.embeddings(input_ids + 0 * token_type_ids)
            for layer in self.layers:
                hidden = layer(hidden, self._attention_bias(attention_mask))
            return wrap(hidden)

    model = prepare(Encoding(config, load_weights(tiny, config), Ending.plain(Pooling.MEAN, normalize=True)))
    ids = torch.ones((1, 5), dtype=torch.int64)
    return torch.jit.trace(model, (ids, ids, ids), strict=False, check_trace=False)


@needs_ipex
@pytest.mark.parametrize(("kept_as", "said"), [("qint8", "ipex-int8-dynamic-cls-"), ("float16", "ipex-fp32-cls-")])
def test_layers_that_torch_quantizes_at_run_time_are_said(tiny, tmp_path, kept_as, said):
    """`quantize_dynamic` in 8 bits; in half precision it quantizes nothing, under nearly the same name."""

    def dynamic(model):
        import torch

        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=getattr(torch, kept_as))

    folder = write_torchscript_folder(tiny, tmp_path / "dynamic", _script(tiny, lambda hidden: hidden, dynamic))
    encoder = Encoder.load(folder, pooling="cls", precision=said.split("-")[1], **ALLOWED)
    assert encoder.fingerprint.startswith(said)
    assert encoder.encode_documents(TEXTS).shape[0] == len(TEXTS)


@needs_ipex
@pytest.mark.parametrize(
    "wrap",
    [
        lambda hidden: hidden,
        lambda hidden: (hidden, hidden[:, 0]),
        lambda hidden: {"last_hidden_state": hidden, "pooler_output": hidden[:, 0]},
    ],
    ids=["alone", "tuple", "dictionary"],
)
def test_the_last_hidden_state_comes_first_in_every_form_of_output(tiny, tmp_path, wrap):
    folder = write_torchscript_folder(tiny, tmp_path / "script", _script(tiny, wrap))
    found = Encoder.load(folder, precision="fp32", pooling="mean", **ALLOWED)
    expected = Encoder.load(tiny, precision="fp32", query_instruction="", document_instruction="")
    assert np.abs(found.encode_documents(TEXTS) - expected.encode_documents(TEXTS)).max() <= 1e-5


@needs_ipex
def test_an_fp32_torchscript_can_not_be_quantized_nor_run_in_bf16(tiny, tmp_path):
    folder = write_torchscript_folder(tiny, tmp_path / "script", _script(tiny, lambda hidden: hidden))
    with pytest.raises(UnsupportedModelError, match="can't be quantized"):
        Encoder.load(folder, pooling="mean", cache_folder=tmp_path / "cache", **ALLOWED)
    with pytest.raises(OptionError, match="bf16"):
        Encoder.load(folder, pooling="mean", precision="bf16", **ALLOWED)


@needs_ipex
def test_what_is_no_encoder_is_refused(tiny, tmp_path):
    import torch

    class Other(torch.nn.Module):
        def forward(self, pixels):
            return pixels * 2

    script = torch.jit.trace(Other(), torch.ones(2, 3))
    with pytest.raises(UnsupportedModelError, match="takes the inputs pixels"):
        Encoder.load(write_torchscript_folder(tiny, tmp_path / "a", script), pooling="mean", **ALLOWED)
    pooled = _script(tiny, lambda hidden: hidden[:, 0])
    with pytest.raises(UnsupportedModelError, match="does not run as a text encoder"):
        Encoder.load(write_torchscript_folder(tiny, tmp_path / "b", pooled), pooling="mean", **ALLOWED)


@needs_ipex
def test_a_folder_of_ours_needs_no_permission_and_a_changed_one_is_not_opened(tiny_int8_of, tmp_path):
    shutil.copytree(tiny_int8_of("ipex"), tmp_path / "copy")
    Encoder.load(tmp_path / "copy", runtime="ipex")
    with (tmp_path / "copy" / "encoder.pt").open("ab") as opened:
        opened.write(b"x")
    with pytest.raises(DamagedFilesError, match=r"encoder\.pt has changed"):
        Encoder.load(tmp_path / "copy", runtime="ipex", allow_torchscript=True)
