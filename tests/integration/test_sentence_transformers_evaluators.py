"""sentence-transformers' evaluators and utilities take the shape for a SentenceTransformer, and find the same."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.integrations.sentence_transformers import IntelQuantizedSentenceTransformer
from support.tiny_models import VOCABULARY, write_tiny_model

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]  # theirs warns of its own former names

sentence_transformers = pytest.importorskip("sentence_transformers", reason="only in the reference environments")
evaluation = pytest.importorskip("sentence_transformers.evaluation", reason="only in the reference environments")
if int(sentence_transformers.__version__.split(".")[0]) < 6:
    pytest.skip("what is compared here is sentence-transformers 6", allow_module_level=True)
util = sentence_transformers.util

WORDS = VOCABULARY[4:64]
ONE = [f"{a} {b}" for a, b in zip(WORDS[:20], WORDS[20:40], strict=True)]
TWO = [f"{a} {b} {c}" for a, b, c in zip(WORDS[:20], WORDS[40:], WORDS[20:40], strict=True)]
QUERIES = {f"q{place}": text for place, text in enumerate(ONE)}
CORPUS = {f"d{place:02}": text for place, text in enumerate(TWO)}
RELEVANT = {f"q{place}": {f"d{place:02}", f"d{(place + 7) % 20:02}"} for place in range(20)}
SAMPLES = [{"query": ONE[at], "positive": TWO[at : at + 2], "negative": TWO[at + 2 : at + 8]} for at in range(10)]
SCORES = [place * 7 % 20 / 20 for place in range(20)]
LABELS = [place * 3 % 2 for place in range(20)]

MODELS = {
    "cosine": {"similarity_fn_name": "cosine", "prompts": {"query": "query: ", "document": "a document: "}},
    "dot": {"similarity_fn_name": "dot", "prompts": {}},
    "euclidean": {"similarity_fn_name": "euclidean", "prompts": {"query": "what is ", "document": "the "}},
    "manhattan": {
        "similarity_fn_name": "manhattan",
        "prompts": {"query": "what is ", "document": "", "s": "model "},
        "default_prompt_name": "s",
    },
}


@pytest.fixture(scope="module", params=MODELS)
def both(request, tmp_path_factory):
    """A tiny model in fp32 as theirs and ours, of each similarity; all but the first are not normalized."""
    folder = tmp_path_factory.mktemp("models") / request.param
    write_tiny_model(folder, normalize=request.param == "cosine")
    (folder / "config_sentence_transformers.json").write_text(json.dumps(MODELS[request.param]))
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return theirs, IntelQuantizedSentenceTransformer(Encoder.load(folder, precision="fp32"))


def assert_same(ours, theirs, *, tolerance=1e-4):
    """Of whatever is made of dictionaries, lists and numbers."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for name in theirs:
            assert_same(ours[name], theirs[name], tolerance=tolerance)
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, tolerance=tolerance)
    elif isinstance(theirs, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=tolerance, atol=tolerance)


EVALUATORS = {
    "similarity": lambda: evaluation.EmbeddingSimilarityEvaluator(ONE, TWO, SCORES),
    "similarity of every kind, cut": lambda: evaluation.EmbeddingSimilarityEvaluator(
        ONE, TWO, SCORES, similarity_fn_names=["cosine", "dot", "euclidean", "manhattan"], truncate_dim=20, name="dev"
    ),
    **{
        f"similarity of {precision}": lambda precision=precision: evaluation.EmbeddingSimilarityEvaluator(
            ONE, TWO, SCORES, precision=precision
        )
        for precision in ("float32", "int8", "uint8", "binary", "ubinary")
    },
    "retrieval": lambda: evaluation.InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, corpus_chunk_size=7),
    "retrieval, cut and with a prompt": lambda: evaluation.InformationRetrievalEvaluator(
        QUERIES, CORPUS, RELEVANT, truncate_dim=16, query_prompt="find ", corpus_prompt_name="query", name="cut"
    ),
    "retrieval by two functions": lambda: evaluation.InformationRetrievalEvaluator(
        QUERIES, CORPUS, RELEVANT, score_functions={"cosine": util.cos_sim, "dot": util.dot_score}
    ),
    "classification": lambda: evaluation.BinaryClassificationEvaluator(ONE, TWO, LABELS),
    "triplets": lambda: evaluation.TripletEvaluator(ONE, TWO, WORDS[:20]),
    "triplets of every kind": lambda: evaluation.TripletEvaluator(
        ONE, TWO, WORDS[:20], similarity_fn_names=["cosine", "dot", "euclidean", "manhattan"], truncate_dim=8
    ),
    "reranking": lambda: evaluation.RerankingEvaluator(SAMPLES),
    "reranking one by one": lambda: evaluation.RerankingEvaluator(SAMPLES, use_batched_encoding=False),
    "paraphrases": lambda: evaluation.ParaphraseMiningEvaluator(
        dict(enumerate([*ONE, *TWO])), [(place, place + 20) for place in range(20)]
    ),
    "translation": lambda: evaluation.TranslationEvaluator(ONE, TWO),
    "one after another": lambda: evaluation.SequentialEvaluator(
        [evaluation.TripletEvaluator(ONE, TWO, WORDS[:20]), evaluation.TranslationEvaluator(ONE, TWO)]
    ),
}


@pytest.mark.parametrize("kind", EVALUATORS)
def test_every_evaluator_finds_the_same(both, kind, tmp_path):
    theirs, ours = both
    found = []
    for name, model in (("theirs", theirs), ("ours", ours)):
        evaluator = EVALUATORS[kind]()
        scores = model.evaluate(evaluator, str(tmp_path / name))
        if kind != "one after another":  # of which each leaves its own
            assert model.model_card_data.eval_results_dict[evaluator] == scores
        found.append((scores, evaluator.primary_metric))
    # A number at the edge of a step, or next to nought, may be rounded to either side.
    assert_same(found[1], found[0], tolerance=0.02 if kind.endswith(("int8", "binary")) else 1e-4)
    for file in (tmp_path / "theirs").glob("*.csv"):
        assert (tmp_path / "ours" / file.name).read_text().splitlines()[0] == file.read_text().splitlines()[0]


def test_a_teacher_and_a_student_may_be_either(both):
    theirs, ours = both
    for teacher, student in ((theirs, ours), (ours, theirs), (ours, ours)):
        scores = evaluation.MSEEvaluator(ONE, ONE, teacher_model=teacher)(student)
        assert scores["negative_mse"] == pytest.approx(0, abs=1e-6)
    assert_same(*(evaluation.MSEEvaluator(ONE, TWO, teacher_model=theirs)(model) for model in (ours, theirs)))


def test_a_teacher_and_a_student_of_several_languages(both):
    theirs, ours = both
    rows = [{"en": one, "de": two} for one, two in zip(ONE, TWO, strict=True)]
    found = []
    for model in (ours, theirs):
        evaluator = evaluation.MSEEvaluatorFromDataFrame(rows, theirs, [("en", "de")])
        found.append(evaluator(model))
    assert_same(*found)


UTILITIES = {
    "paraphrase_mining": lambda model: util.paraphrase_mining(model, [*ONE, *TWO], max_pairs=12, truncate_dim=20),
    "paraphrase_mining, dot product": lambda model: util.paraphrase_mining(
        model, ONE, max_pairs=12, score_function=util.dot_score, prompt="what is "
    ),
    "semantic_search": lambda model: util.semantic_search(
        model.encode_query(ONE, convert_to_tensor=True), model.encode_document(TWO, convert_to_tensor=True), top_k=5
    ),
    "semantic_search by the model": lambda model: util.semantic_search(
        model.encode_query(ONE), model.encode_document(TWO), top_k=5, score_function=model.similarity
    ),
    "community_detection": lambda model: util.community_detection(
        model.encode([*ONE, *TWO], convert_to_tensor=True), threshold=0.6, min_community_size=2
    ),
    "quantize_embeddings": lambda model: util.quantize_embeddings(
        model.encode(ONE), precision="binary", calibration_embeddings=model.encode(TWO)
    ),
    "normalize_embeddings": lambda model: util.normalize_embeddings(model.encode(ONE, convert_to_tensor=True)),
    "pairwise_cos_sim": lambda model: util.pairwise_cos_sim(model.encode(ONE), model.encode(TWO)),
}


@pytest.mark.parametrize("name", UTILITIES)
def test_every_utility_finds_the_same(both, name):
    theirs, ours = both
    if name == "quantize_embeddings":  # a number next to nought may be on either side of it
        assert np.mean(UTILITIES[name](ours) == UTILITIES[name](theirs)) > 0.95
        return
    assert_same(UTILITIES[name](ours), UTILITIES[name](theirs))


@pytest.mark.parametrize(
    "options",
    [
        {"range_min": 1},
        {"use_multi_process": ["cpu", "cpu"]},
        {"output_format": "n-tuple", "relative_margin": 0.05},
        {"output_scores": True, "query_prompt_name": "query"},
        {"cache_folder": "embeddings", "corpus_prompt": "a document: "},
    ],
    ids=str,
)
def test_hard_negatives_are_the_same(both, options, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets is in the reference environment only")
    monkeypatch.chdir(tmp_path)
    theirs, ours = both
    if "query_prompt_name" in options and "query" not in theirs.prompts:
        pytest.skip("this model has no prompt for queries")
    pairs = datasets.Dataset.from_dict({"anchor": ONE, "positive": TWO})
    mined = []
    for model in (theirs, ours):
        # Other processes of theirs would give what this one gives.
        given = {name: value for name, value in options.items() if model is ours or name != "use_multi_process"}
        mined.append(
            util.mine_hard_negatives(pairs, model, num_negatives=2, range_max=8, verbose=False, **given).to_dict()
        )
    assert_same(mined[1], mined[0])
    if "cache_folder" in options:  # neither took the other's vectors for its own
        assert len(list((tmp_path / "embeddings").glob("*.npy"))) == 4


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt_name": "query"},
        {"prompt": "find "},
        {"prompt": ""},
        {"precision": None, "batch_size": 3},
        {"precision": "int8"},
        {"precision": "uint8", "truncate_dim": 7},
        {"normalize_embeddings": True, "truncate_dim": 7},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"device": "cpu", "task": "query"},
        {"output_value": "sentence_embedding", "show_progress_bar": False},
    ],
    ids=str,
)
def test_every_argument_gives_the_same_vectors(both, method, options, caplog):
    theirs, ours = both
    if options.get("prompt_name") == "query" and "query" not in theirs.prompts:
        pytest.skip("this model has no prompt for queries")
    if method != "encode":
        options = {name: value for name, value in options.items() if name != "task"}
    logging.disable(logging.WARNING)
    try:
        for texts in [ONE, *([ONE[0]] if options.get("precision") not in ("int8", "uint8") else [])]:
            one, other = getattr(ours, method)(texts, **options), getattr(theirs, method)(texts, **options)
            assert type(one) is type(other)
            if options.get("precision") in ("int8", "uint8"):  # a rounding may fall to either side
                assert one.dtype == other.dtype
                assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
            else:
                assert_same(one, other)
    finally:
        logging.disable(logging.NOTSET)


def test_arguments_may_stand_without_their_names(both):
    theirs, ours = both
    given = (ONE, None, "find ", 8, False, "sentence_embedding", "float32", True, False, "cpu", True, 9, None, None)
    assert_same(ours.encode(*given), theirs.encode(*given))
    assert_same(ours.encode_query(*given), theirs.encode_query(*given))


def test_similarities_are_the_same_of_every_kind_of_input(both):
    theirs, ours = both
    one, two = theirs.encode(ONE, convert_to_tensor=True), theirs.encode(TWO, convert_to_tensor=True)
    for convert in (lambda v: v, lambda v: v.numpy(), list, lambda v: list(v.numpy()), lambda v: v[0], lambda v: v[:0]):
        for first, second in ((convert(one), convert(two)), (convert(one), two)):
            if len(first) == 0 and isinstance(first, list):
                continue
            expected = theirs.similarity(first, second)
            found = ours.similarity(first, second)
            assert (type(found), found.shape) == (type(expected), expected.shape)
            assert_same(found, expected)
        expected, found = (model.similarity_pairwise(convert(one), convert(two)) for model in (theirs, ours))
        assert (type(found), found.shape) == (type(expected), expected.shape)
        assert_same(found, expected)


def test_names_of_similarities_are_taken_as_theirs(both):
    theirs, ours = both
    own = ours.similarity_fn_name
    assert own == theirs.similarity_fn_name
    for name in (*util.SimilarityFunction.possible_values()[:4], util.SimilarityFunction.DOT):
        ours.similarity_fn_name = theirs.similarity_fn_name = name
        assert ours.similarity_fn_name == theirs.similarity_fn_name
        vectors = ours.encode(ONE), ours.encode(TWO)
        assert_same(ours.similarity(*vectors), theirs.similarity(*vectors))
    ours.similarity_fn_name = None
    assert ours.similarity_fn_name == own
    theirs.similarity_fn_name = own


def test_tokens_are_theirs(both):
    theirs, ours = both
    found, expected = ours.tokenize(ONE), theirs.tokenize(ONE)
    for name in ("input_ids", "attention_mask"):
        assert np.array_equal(found[name], expected[name])


def test_an_evaluator_that_needs_the_layers_says_so(both):
    from torch.utils.data import DataLoader

    evaluator = evaluation.LabelAccuracyEvaluator(DataLoader([]))
    with pytest.raises(OptionError, match="has no attribute 'smart_batching_collate': it encodes and compares"):
        evaluator(both[1])
