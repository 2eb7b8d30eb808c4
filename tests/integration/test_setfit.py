"""SetFit models: the body in int8, the head as numbers, served without torch; beside the real SetFit where it is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import (
    DamagedFilesError,
    ModelFilesError,
    OptionError,
    UnsupportedModelError,
)
from intel_quantized_embeddings.int8_folder.manifest import Manifest
from intel_quantized_embeddings.integrations.classification_head import ClassificationHead, convert_head
from intel_quantized_embeddings.integrations.setfit import QuantizedSetFit, quantize_setfit
from intel_quantized_embeddings.integrations.setfit_folder import write_classifier
from intel_quantized_embeddings.integrations.setfit_source import configuration

pytestmark = pytest.mark.usefixtures("quick_quantizing")

linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed (the eval extra)")

ABOUT = {"water": "the cold river and the rain fall {}", "stone": "the old house of red stone {}", "sky": "a star {}"}
TEXTS = [text.format("and light " * (n % 5)) + f" {n}" for n in range(12) for text in ABOUT.values()]
LABELS = [number for _ in range(12) for number in range(len(ABOUT))]


class Body:
    """A model body as far as it is written to disk; its vectors come from our own fp32 encoder."""

    def __init__(self, folder):
        self.folder = folder

    def save_pretrained(self, path, **_):
        shutil.copytree(self.folder, path)


@pytest.fixture(scope="module")
def fp32(tiny):
    return Encoder.load(tiny, precision="fp32", query_instruction="", document_instruction="")


def _model(tiny, fp32, targets, *, head=None, labels=None, normalize=False):
    head = (head or linear_model.LogisticRegression(C=100)).fit(fp32.encode_documents(TEXTS), targets)
    return SimpleNamespace(model_body=Body(tiny), model_head=head, labels=labels, normalize_embeddings=normalize)


@pytest.fixture(scope="module")
def model(tiny, fp32):
    return _model(tiny, fp32, LABELS, labels=list(ABOUT))


@pytest.fixture(scope="module")
def folder(model, runtime, tmp_path_factory):
    folder = tmp_path_factory.mktemp("setfit") / f"subjects-{runtime}"
    report = quantize_setfit(model, folder, runtime=runtime, search=False)
    assert report.folder == folder
    return folder


@pytest.fixture(scope="module")
def sound(model, tmp_path_factory):
    """For the default runtime whatever else is installed, to be copied and damaged."""
    return quantize_setfit(model, tmp_path_factory.mktemp("setfit") / "sound", search=False).folder


def test_the_head_is_kept_exactly(model, fp32):
    served = QuantizedSetFit(encoder=fp32, head=convert_head(model.model_head, dimension=fp32.dimension), labels=None)
    vectors = fp32.encode_documents(TEXTS)
    np.testing.assert_allclose(served.predict_proba(TEXTS), model.model_head.predict_proba(vectors), atol=1e-6)
    assert np.array_equal(served.predict(TEXTS), model.model_head.predict(vectors))
    assert np.array_equal(served.encode(TEXTS), vectors)


def test_int8_predicts_as_fp32_does(folder, model, fp32):
    served = QuantizedSetFit.load(folder)
    expected = [list(ABOUT)[place] for place in model.model_head.predict(fp32.encode_documents(TEXTS))]
    assert served.predict(TEXTS) == expected
    own = model.model_head.predict_proba(fp32.encode_documents(TEXTS))
    assert np.abs(served.predict_proba(TEXTS) - own).mean() < 0.05
    assert "-int8-" in served.encoder.fingerprint


def test_one_text_gives_one_answer(folder):
    served = QuantizedSetFit.load(folder)
    assert served.predict(TEXTS[0]) == served(TEXTS[0]) == "water"
    assert served.predict_proba(TEXTS[0]).shape == (3,)
    assert np.array_equal(served.encode(TEXTS[0]), served.encode(TEXTS)[0])
    assert served.predict(TEXTS[0], use_labels=False) == 0
    assert np.array_equal(served.predict(TEXTS[:4], use_labels=False), [0, 1, 2, 0])
    assert served.predict([]) == []


@pytest.mark.parametrize("targets", [["yes" if label else "no" for label in LABELS], [label > 0 for label in LABELS]])
def test_two_classes(tiny, fp32, targets):
    head = linear_model.LogisticRegression().fit(
        fp32.encode_documents(TEXTS), np.array(targets, dtype=object if isinstance(targets[0], str) else int)
    )
    served = QuantizedSetFit(encoder=fp32, head=convert_head(head, dimension=fp32.dimension))
    vectors = fp32.encode_documents(TEXTS)
    np.testing.assert_allclose(served.predict_proba(TEXTS), head.predict_proba(vectors), atol=1e-6)
    assert np.array_equal(served.predict(TEXTS), head.predict(vectors))


# What a head is trained on, and what SetFit calls its classes then.
KINDS_OF_LABELS = {
    "integers": ([0, 1, 2], None),
    "integers from 7": ([7, 8, 9], None),
    "unsigned bytes": (np.array([0, 1, 2], dtype=np.uint8), ["a", "b", "c"]),
    "floats": ([0.0, 1.0, 2.0], None),
    "floats with names": (np.array([0, 1, 2], dtype=np.float32), ["a", "b", "c"]),
    "floats from 10": ([10.0, 20.0, 30.0], None),
    "two floats with names": ([0.0, 1.0], ["no", "yes"]),
    "booleans": ([False, True], None),
    "booleans with names": ([False, True], ["no", "yes"]),
    "strings": (["stone", "sky", "water"], None),
    "strings, which are names already": (["stone", "sky", "water"], ["a", "b", "c"]),
    "strings of digits": (["0", "1", "2"], ["a", "b", "c"]),
    "objects that are strings": (np.array(["stone", "sky", "water"], dtype=object), None),
    "objects that are digits, which count as numbers": (np.array(["0", "1", "2"], dtype=object), ["a", "b", "c"]),
    "more names than classes": ([0, 2], ["a", "b", "c", "d"]),
    "names that are numbers": ([0, 1, 2], [10, 20.5, True]),
    "NumPy's names": ([0, 1, 2], np.array(["a", "b", "c"])),
    "no names": ([0, 1, 2], []),
}


def _as_setfit_predicts(head, labels, vectors):
    """setfit 1.2.0, `SetFitModel.predict`, but for the type of array."""
    predicted = head.predict(vectors)
    if labels and predicted.ndim == 1 and predicted.dtype.char != "U":
        return [labels[int(one)] for one in predicted]
    return predicted


def _trained_on(classes, fp32):
    """A head whose training texts have these classes in turn."""
    targets = np.asarray(classes)[np.arange(len(TEXTS)) % len(classes)]
    return linear_model.LogisticRegression(C=100).fit(fp32.encode_documents(TEXTS), targets)


@pytest.mark.parametrize("kind", KINDS_OF_LABELS)
def test_classes_of_any_kind_are_kept_and_named_as_setfit_does(fp32, sound, tmp_path, kind):
    classes, labels = KINDS_OF_LABELS[kind]
    head = _trained_on(classes, fp32)
    folder = shutil.copytree(sound, tmp_path / "folder")
    listed = [label.item() if hasattr(label, "item") else label for label in labels] if labels is not None else None
    write_classifier(folder, convert_head(head), configuration(labels, False)["labels"])
    served = QuantizedSetFit.load(folder)
    vectors = served.encode(TEXTS)
    expected, found = _as_setfit_predicts(head, listed, vectors), served.predict(TEXTS)
    assert type(found) is type(expected)
    assert list(found) == list(expected)
    assert [type(one) for one in found] == [type(one) for one in expected] or head.classes_.dtype.kind in "Ofu"
    assert served.predict(TEXTS[0]) == expected[0]
    assert list(served.predict(TEXTS, use_labels=False)) == list(head.predict(vectors))


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        ([0, 1, 7], ["a", "b", "c"], "there are 3 labels, numbered from 0, and none for the class 7"),
        ([-1, 1], ["no", "yes"], "none for the class -1"),
        ([1.0, 2.0], ["one", "two"], r"none for the class 2\.0"),
    ],
)
def test_labels_that_do_not_fit_the_head_are_refused_before_anything_is_quantized(
    tiny, fp32, tmp_path, classes, labels, message
):
    """SetFit ends in an IndexError at the first such text, or takes the last label for -1."""
    head = _trained_on(classes, fp32)
    lines = []
    model = SimpleNamespace(model_body=Body(tiny), model_head=head, labels=labels, normalize_embeddings=False)
    with pytest.raises(OptionError, match=message):
        quantize_setfit(model, tmp_path / "out", search=False, progress=lines.append)
    assert lines == []
    assert not (tmp_path / "out").exists()


def test_classes_that_json_can_not_keep_are_refused(fp32):
    head = _trained_on(["no", "yes"], fp32)
    head.classes_ = np.array([b"no", b"yes"])  # today's scikit-learn does not train on them
    with pytest.raises(UnsupportedModelError, match=r"the head's classes are \(b'no', b'yes'\), of type \|S3"):
        convert_head(head)


def test_a_folder_of_format_version_1_opens(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "folder")
    description = json.loads((folder / "setfit.json").read_text("utf-8"))
    del description["head"]["numbered"]
    (folder / "setfit.json").write_text(json.dumps({**description, "format_version": 1}), "utf-8")
    assert QuantizedSetFit.load(folder).predict(TEXTS[:3]) == QuantizedSetFit.load(sound).predict(TEXTS[:3])


@pytest.mark.parametrize("always", [0, 1])
def test_a_label_that_every_training_text_had_or_none_is_kept(fp32, always):
    """A label of several that few texts have is often in none of a handful."""
    from sklearn.multiclass import OneVsRestClassifier

    targets = np.array([[label == 2, always] for label in LABELS], dtype=int)
    vectors = fp32.encode_documents(TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says what it does
        head = OneVsRestClassifier(linear_model.LogisticRegression(C=100)).fit(vectors, targets)
    converted = convert_head(head)
    assert np.array_equal(converted.predict(vectors), head.predict(vectors))
    np.testing.assert_allclose(converted.predict_proba(vectors), head.predict_proba(vectors), atol=1e-6)


def test_several_labels_at_once(tiny, fp32, tmp_path):
    from sklearn.multiclass import OneVsRestClassifier

    targets = np.array([[label != 0, label == 2] for label in LABELS], dtype=int)
    several = _model(tiny, fp32, targets, head=OneVsRestClassifier(linear_model.LogisticRegression(C=100)))
    quantize_setfit(several, tmp_path / "several", search=False)
    served = QuantizedSetFit.load(tmp_path / "several")
    assert np.array_equal(served.predict(TEXTS), several.model_head.predict(served.encode(TEXTS)))
    # Of a random model some texts lie at the border; with the 7 bits of CPUs without VNNI two labels of all may change.
    assert (served.predict(TEXTS) != several.model_head.predict(fp32.encode_documents(TEXTS))).sum() <= 2
    own = several.model_head.predict_proba(fp32.encode_documents(TEXTS))
    assert np.abs(served.predict_proba(TEXTS) - own).mean() < 0.05


def test_several_outputs_give_both_probabilities_of_each(tiny, fp32, tmp_path):
    from sklearn.multioutput import MultiOutputClassifier

    targets = np.array([[label != 0, label == 2] for label in LABELS], dtype=int)
    several = _model(tiny, fp32, targets, head=MultiOutputClassifier(linear_model.LogisticRegression(C=100)))
    vectors = fp32.encode_documents(TEXTS)
    head = convert_head(several.model_head, dimension=fp32.dimension)
    own = np.stack(several.model_head.predict_proba(vectors), axis=1)  # as SetFit puts them together
    np.testing.assert_allclose(head.predict_proba(vectors), own, atol=1e-6)
    quantize_setfit(several, tmp_path / "several", search=False)
    served = QuantizedSetFit.load(tmp_path / "several")
    assert np.array_equal(served.predict(TEXTS), several.model_head.predict(served.encode(TEXTS)))
    assert (served.predict(TEXTS) != several.model_head.predict(vectors)).sum() <= 2  # as above
    assert served.predict_proba(TEXTS[0]).shape == (2, 2)


def test_labels_that_are_not_0_or_1_are_refused_among_several(fp32):
    from sklearn.multioutput import MultiOutputClassifier

    head = MultiOutputClassifier(linear_model.LogisticRegression())
    head.fit(fp32.encode_documents(TEXTS), [[label % 2, 1 + label % 2] for label in LABELS])
    with pytest.raises(UnsupportedModelError, match=r"label 1 of the head has the classes \(1, 2\)"):
        convert_head(head, dimension=fp32.dimension)


def test_the_source_is_named_after_the_model_and_lines_of_progress_after_the_result(model, tmp_path):
    named = SimpleNamespace(**vars(model), model_card_data=SimpleNamespace(model_id=None, st_id="some/base-model"))
    lines = []
    quantize_setfit(named, tmp_path / "out", search=False, progress=lines.append)
    assert Manifest.read(tmp_path / "out" / "body").source.id == "setfit-base-model"
    assert f"wrote {tmp_path / 'out' / 'body'} in" in lines[-1]


def test_no_probability_overflows(fp32):
    for link, outputs in (("softmax", 2), ("binary", 1), ("sigmoid", 2)):
        weights = np.full((outputs, fp32.dimension), 1e5) * np.array([[1], [-1]])[:outputs]
        head = ClassificationHead(weights=weights, bias=np.zeros(outputs), link=link, classes=(0, 1))
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            found = head.predict_proba(np.array([np.ones(fp32.dimension), -np.ones(fp32.dimension)], dtype=np.float32))
        assert np.isfinite(found).all()
        assert set(found.ravel()) == {0, 1}


def test_vectors_are_normalized_where_setfit_normalizes(fp32, tmp_path):
    from support.tiny_models import write_tiny_model

    plain = write_tiny_model(tmp_path / "plain", normalize=False)
    vectors = Encoder.load(plain, precision="fp32").encode_documents(TEXTS)
    head = linear_model.LogisticRegression().fit(vectors, LABELS)
    for normalize in (False, True):
        one = SimpleNamespace(model_body=Body(plain), model_head=head, labels=None, normalize_embeddings=normalize)
        quantize_setfit(one, tmp_path / f"n{normalize}", search=False)
        lengths = np.linalg.norm(QuantizedSetFit.load(tmp_path / f"n{normalize}").encode(TEXTS), axis=1)
        assert np.allclose(lengths, 1, atol=1e-3) == normalize


def test_a_pickled_head_is_read_only_when_that_is_allowed(tiny, model, tmp_path):
    saved = shutil.copytree(tiny, tmp_path / "saved")
    with pytest.raises(ModelFilesError, match=r"no model_head\.pkl.*SetFitModel\.from_pretrained"):
        quantize_setfit(saved, tmp_path / "out", search=False)
    import joblib

    joblib.dump(model.model_head, saved / "model_head.pkl")
    (saved / "config_setfit.json").write_text(json.dumps({"labels": list(ABOUT), "normalize_embeddings": False}))
    with pytest.raises(OptionError, match=r"is a pickle, which is code .* allow_pickle=True, or the loaded model"):
        quantize_setfit(saved, tmp_path / "out", search=False)
    assert not (tmp_path / "out").exists()
    quantize_setfit(saved, tmp_path / "out", search=False, allow_pickle=True)
    assert QuantizedSetFit.load(tmp_path / "out").predict(TEXTS[:3]) == list(ABOUT)
    for file, content, message in (
        ("config_setfit.json", {"labels": 5}, "labels is 5; a list"),
        ("config_setfit.json", {"labels": "abc"}, "labels is 'abc'; a list"),
        ("config_sentence_transformers.json", {"prompts": [1], "default_prompt_name": "x"}, "prompts is \\[1\\]"),
        ("config_sentence_transformers.json", {"prompts": {"x": 1}, "default_prompt_name": "x"}, "prompts is {'x': 1}"),
        ("config_sentence_transformers.json", {"default_prompt_name": ["x"]}, "default_prompt_name is \\['x'\\]"),
    ):
        damaged = shutil.copytree(saved, tmp_path / "damaged", dirs_exist_ok=True)
        (damaged / file).write_text(json.dumps(content))
        with pytest.raises(DamagedFilesError, match=message):
            quantize_setfit(damaged, tmp_path / "other", search=False, allow_pickle=True)
        shutil.rmtree(damaged)
    (saved / "model_head.pkl").write_bytes(b"no pickle")
    with pytest.raises(DamagedFilesError, match=r"model_head\.pkl can't be read"):
        quantize_setfit(saved, tmp_path / "other", search=False, allow_pickle=True)


class Tree:
    """A head that is not linear."""


def test_other_heads_and_things_are_refused_and_leave_nothing(tiny, fp32, tmp_path):
    with pytest.raises(OptionError, match="model is a int; a SetFitModel or a folder"):
        quantize_setfit(7, tmp_path / "out")
    for head, message in (
        (Tree(), "the head is a Tree; LogisticRegression"),
        (linear_model.LogisticRegression(), "Is it fitted?"),
        (linear_model.LogisticRegression().fit(np.eye(3), [0, 1, 2]), "takes vectors of 3 numbers"),
    ):
        with pytest.raises(UnsupportedModelError, match=message.replace("?", r"\?")):
            quantize_setfit(
                SimpleNamespace(model_body=Body(tiny), model_head=head, labels=None, normalize_embeddings=False),
                tmp_path / "out",
                search=False,
            )
        assert not (tmp_path / "out").exists()


def test_a_head_that_computes_something_else_is_not_taken_for_one_that_is_known(fp32):
    class LogisticRegression(linear_model.LogisticRegression):
        def predict_proba(self, vectors):
            return super().predict_proba(vectors) ** 2

    head = LogisticRegression().fit(fp32.encode_documents(TEXTS), LABELS)
    with pytest.raises(UnsupportedModelError, match="does not give the probabilities that its numbers should"):
        convert_head(head, dimension=fp32.dimension)


def _changed(part=None, **values):
    def change(file):
        description = json.loads(file.read_text())
        (description[part] if part else description).update(values)
        file.write_text(json.dumps(description))

    return change


@pytest.mark.parametrize(
    ("file", "change", "error", "message"),
    [
        ("head.safetensors", lambda file: file.write_bytes(file.read_bytes()[:-8]), DamagedFilesError, "has changed"),
        ("head.safetensors", lambda file: file.unlink(), ModelFilesError, r"head\.safetensors is missing"),
        ("setfit.json", lambda file: file.unlink(), ModelFilesError, r"has no setfit\.json"),
        ("setfit.json", lambda file: file.write_text("{}"), UnsupportedModelError, "format version None"),
        ("setfit.json", lambda file: file.write_text('{"format_version": 1}'), DamagedFilesError, "describe a head"),
        ("setfit.json", _changed("head", classes=[0, 1, 7]), DamagedFilesError, r"setfit\.json does not name every"),
        ("setfit.json", _changed("head", classes=3), DamagedFilesError, r"setfit\.json: classes is 3"),
        ("setfit.json", _changed("head", link="binary"), DamagedFilesError, "3 classes and link 'binary'"),
        ("setfit.json", _changed(labels="abc"), DamagedFilesError, r"setfit\.json: labels is 'abc'"),
        ("setfit.json", _changed(body=None), DamagedFilesError, "describe a body"),
        ("body/manifest.json", lambda file: file.write_text(file.read_text() + " "), DamagedFilesError, "has changed"),
        ("body/encoder.json", lambda file: file.write_bytes(b""), DamagedFilesError, r"encoder\.json has changed"),
    ],
)
def test_a_damaged_folder_is_an_error_that_names_the_file(sound, tmp_path, file, change, error, message):
    folder = shutil.copytree(sound, tmp_path / "folder")
    change(folder / file)
    with pytest.raises(error, match=message):
        QuantizedSetFit.load(folder)


def test_it_is_replaced_only_when_that_is_asked_for(model, tmp_path):
    quantize_setfit(model, tmp_path / "folder", search=False)
    with pytest.raises(OptionError, match="exists"):
        quantize_setfit(model, tmp_path / "folder", search=False)
    quantize_setfit(model, tmp_path / "folder", search=False, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OptionError, match="not a model folder that was written here"):
        quantize_setfit(model, tmp_path / "mine", search=False, overwrite=True)


SERVING = """
import sys
from intel_quantized_embeddings.integrations.setfit import QuantizedSetFit

print(QuantizedSetFit.load(sys.argv[1]).predict(sys.argv[2]))
assert not {"torch", "sklearn", "setfit", "joblib", "nncf"} & sys.modules.keys()
"""


def test_serving_needs_neither_torch_nor_scikit_learn(model, tmp_path):
    quantize_setfit(model, tmp_path / "folder", search=False)
    done = subprocess.run(
        [sys.executable, "-c", SERVING, str(tmp_path / "folder"), TEXTS[1]], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "stone\n"), done.stderr


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")  # SetFit calls sentence-transformers by older names
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_differentiable_head": True, "head_params": {"out_features": 3}},
        {"use_differentiable_head": True, "head_params": {"out_features": 3, "bias": False, "temperature": 0.5}},
    ],
    ids=["scikit-learn", "torch", "torch-without-bias"],
)
def test_beside_the_real_setfit(tiny, tmp_path, options):
    """Trained by SetFit itself: the same answers in fp32, and in int8 nearly."""
    setfit = pytest.importorskip("setfit", reason="setfit is in the reference environment only")
    import torch

    torch.manual_seed(0)
    model = setfit.SetFitModel.from_pretrained(str(tiny), labels=list(ABOUT), **options)
    model.fit(TEXTS, LABELS, num_epochs=3, batch_size=8, body_learning_rate=1e-5, head_learning_rate=1e-1)
    expected = np.asarray(model.predict_proba(TEXTS, as_numpy=True))
    model.save_pretrained(str(tmp_path / "saved"))
    body = Encoder.load(
        tmp_path / "saved", precision="fp32", query_instruction="", document_instruction="", normalize=True
    )
    ours = QuantizedSetFit(
        encoder=body, head=convert_head(model.model_head, dimension=body.dimension), labels=model.labels
    )
    np.testing.assert_allclose(ours.predict_proba(TEXTS), expected, atol=1e-4)
    np.testing.assert_allclose(ours.encode(TEXTS), np.asarray(model.encode(TEXTS)), atol=1e-5)
    assert ours.predict(TEXTS) == model.predict(TEXTS)
    assert ours.predict(TEXTS[0]) == model.predict(TEXTS[0])
    for number, given in enumerate((model, tmp_path / "saved")):
        quantize_setfit(given, tmp_path / f"int8-{number}", search=False, allow_pickle=True)
        int8 = QuantizedSetFit.load(tmp_path / f"int8-{number}")
        assert np.abs(int8.predict_proba(TEXTS) - expected).mean() < 0.05


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")  # as above
# The truth value of NumPy's names is an error to SetFit.
@pytest.mark.parametrize("kind", sorted(KINDS_OF_LABELS.keys() - {"NumPy's names"}))
def test_classes_of_any_kind_beside_the_real_setfit(tiny, fp32, kind):
    setfit = pytest.importorskip("setfit", reason="setfit is in the reference environment only")
    from sentence_transformers import SentenceTransformer

    classes, labels = KINDS_OF_LABELS[kind]
    head = _trained_on(classes, fp32)
    theirs = setfit.SetFitModel(model_body=SentenceTransformer(str(tiny)), model_head=head, labels=labels)
    ours = QuantizedSetFit(encoder=fp32, head=convert_head(head), labels=labels)
    expected = theirs.predict(TEXTS, as_numpy=True)
    assert list(ours.predict(TEXTS)) == list(expected)
    assert ours.predict(TEXTS[0]) == expected[0]


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")  # as above
def test_the_example_compares_all_precisions(tiny, tmp_path, capsys):
    pytest.importorskip("setfit", reason="setfit is in the reference environment only")
    import setfit_banking77

    rows = [f"{text},{subject}" for text, subject in zip(TEXTS, list(ABOUT) * 12, strict=True)]
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    arguments = ["--data", str(tmp_path), "--model", str(tiny), "--output", str(tmp_path / "out")]
    assert setfit_banking77.main([*arguments, "--steps", "2", "--turns", "1"]) == 0
    shown = capsys.readouterr().out
    assert "36 texts to test on" in shown
    for system in ("SetFit fp32 (torch)", "ours fp32", "ours int8"):
        (line,) = (line for line in shown.splitlines() if line.startswith(system))
        assert all(float(number) > 0 for number in line.removeprefix(system).replace("%", "").split())
    (tmp_path / "train.csv").unlink()
    assert setfit_banking77.main(arguments) == 1
    assert "train.csv" in capsys.readouterr().err
