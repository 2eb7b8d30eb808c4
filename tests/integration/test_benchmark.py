"""`iqe benchmark` as a person runs it, on a tiny model. Nothing here asserts a time."""

from __future__ import annotations

import contextlib
import io
import json
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from intel_quantized_embeddings import quantize_sparse
from intel_quantized_embeddings.benchmarks import run as benchmark_run
from intel_quantized_embeddings.benchmarks import worker
from intel_quantized_embeddings.cli import main
from support.few_texts import FEW
from support.tiny_models import VOCABULARY, write_tiny_sparse, write_tiny_sparse_router

matplotlib_image = pytest.importorskip("matplotlib.image", reason="matplotlib (the benchmark extra) is not installed")

WORDS = ["the", "cat", "sat", "on", "a", "red", "mat", "and", "dog", "was", "by", "river", "with", "book", "of", "star"]
OURS = ["native-int8", "native-fp32"]
SMALL = [
    *("--repeats", "2", "--corpus-size", "24", "--queries", "30", "--query-rounds", "1", "--lengths", "8", "32"),
    *("--batch-sizes", "1", "8", "--max-length", "64"),
]


ROOT = Path(__file__).resolve().parents[2]


def iqe(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_in_checkout("intel_quantized_embeddings.cli", "benchmark", *arguments)


def run_in_checkout(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "mine.txt"
    lines = [" ".join((WORDS[i:] + WORDS[:i]) * (1 + i % 4)) + f" {i} {j}" for i in range(len(WORDS)) for j in range(4)]
    file.write_text("\n".join(lines), "utf-8")
    return file


class WorkerHere:
    """A worker without a process of its own, that need not find how fast the CPU multiplies."""

    def __init__(self, job):
        self._serving = worker._Serving(job)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, command, *arguments):
        return 100.0 if command == "measure_int8_peak" else getattr(self._serving, command)(*arguments)

    def close(self):
        self._serving = None


@pytest.fixture(scope="module")
def run(tiny, tiny_int8, texts, tmp_path_factory):
    """A whole run of our systems; what the command printed on stdout and stderr, and the folder it wrote."""
    folder = tmp_path_factory.mktemp("benchmark") / "out"
    arguments = [tiny, "--int8", tiny_int8, "--texts", texts, "--output", folder, "--systems", *OURS, *SMALL]
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(benchmark_run, "Worker", WorkerHere)
        assert main(["benchmark", *map(str, arguments)]) == 0, err.getvalue()
    return out.getvalue(), err.getvalue(), folder


def test_everything_is_in_the_json(run, tiny):
    content = json.loads((run[2] / "benchmark.json").read_text("utf-8"))
    assert content["format"] == 1
    assert content["model"] == tiny.name
    assert content["baseline"] == "native-fp32"
    assert content["corpus_facts"]["texts"] == 24
    assert content["corpus_facts"]["sources"] == {"mine.txt": 24}
    assert len(content["corpus_facts"]["sha256"]) == 64
    assert content["machine"]["cpu"]
    assert "openvino" in content["libraries"]
    assert [one["system"] for one in content["corpus"]] == OURS
    assert all(len(one["turns"]) == 2 for one in content["corpus"])
    assert {(one["system"], one["size"]) for one in content["latency"]} == {(name, n) for name in OURS for n in (8, 32)}
    assert {(one["system"], one["size"]) for one in content["throughput"]} == {
        (name, n) for name in OURS for n in (1, 8)
    }
    assert [len(run) for run in content["queries"][0]["runs_ms"]] == [30]
    assert {(one["system"], one["size"]) for one in content["threads"]} == {("native-int8", 1), ("native-int8", 8)}
    assert content["arithmetic"]["gops_per_core"].keys() == {"native-int8"}
    assert content["arithmetic"]["batch"] == 8
    assert content["settings"]["throughput_turns"] == {"1": 2, "8": 2}
    assert content["failed"] == content["not_measured"] == {}
    assert content["given"]["native-int8"] == {"model": "the int8 folder tiny-native"}


def test_accuracy_stands_beside_speed(run):
    content = json.loads((run[2] / "benchmark.json").read_text("utf-8"))
    assert content["cosines"]["native-fp32"]["worst"] == pytest.approx(1, abs=1e-4)
    assert 0.9 < content["cosines"]["native-int8"]["mean"] < 1
    assert 0.9 < content["query_cosines"]["native-int8"]["mean"] < 1
    assert content["wrong_vectors"] == []


@pytest.mark.parametrize("kind", ["layers", "table"])
def test_a_sparse_model_is_measured_by_the_same_parts(kind, texts, tmp_path, capsys, monkeypatch):
    """Of an inference-free one queries are looked up, and compared with what fp32 looks up."""
    pytest.importorskip("scipy", reason="SciPy is not installed (the extra `sparse`)")
    write = write_tiny_sparse if kind == "layers" else partial(write_tiny_sparse_router, as_published=True)
    folder = write(tmp_path / "model")
    quantize_sparse(folder, tmp_path / "int8", measure=False, **FEW)
    monkeypatch.setattr(benchmark_run, "Worker", WorkerHere)
    common = ["--texts", texts, "--output", tmp_path / "out", *SMALL]
    arguments = [folder, "--int8", tmp_path / "int8", "--systems", *OURS, *common]
    assert main(["benchmark", *map(str, arguments)]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    for part in ("Mixed corpus end to end: 24 texts", "Latency,", "Throughput,", "Queries, one at a time"):
        assert part in shown
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8"))
    assert content["cosines"]["native-fp32"]["worst"] == pytest.approx(1, abs=1e-4)
    assert 0.9 < content["cosines"]["native-int8"]["mean"] < 1
    query = content["query_cosines"]["native-int8"]["mean"]
    assert query == 1 if kind == "table" else 0.9 < query < 1
    assert [len(run) for run in content["queries"][0]["runs_ms"]] == [30]
    assert content["model_facts"]["dimension"] == len(VOCABULARY)
    assert content["model_facts"]["pooling"] == "splade"
    assert content["given"]["native-int8"] == {"model": "the int8 folder int8"}
    assert content["not_measured"] == {"arithmetic in int8": "this architecture's operations are not counted"}


def test_systems_without_sparse_models_are_refused_by_name(texts, tmp_path, capsys):
    folder = write_tiny_sparse(tmp_path / "model")
    arguments = ["benchmark", folder, "--texts", texts, "--systems", "input-order-int8", "--output", tmp_path / "out"]
    assert main(list(map(str, arguments))) == 1
    assert "--systems input-order-int8 does not run sparse models" in capsys.readouterr().err
    table = write_tiny_sparse_router(tmp_path / "router") / "query_0_SparseStaticEmbedding"
    assert main(["benchmark", str(table)]) == 1
    assert "a table of tokens' weights, which has no precisions to compare" in capsys.readouterr().err


def test_nothing_says_which_machine_it_was(run, texts):
    written = (run[2] / "benchmark.json").read_text("utf-8") + run[0]
    for private in (str(Path.home()), str(texts.parent), str(run[2].parent), str(Path(sys.prefix)), platform.node()):
        assert len(private) < 4 or private not in written


def test_the_table_is_for_a_terminal(run):
    shown, said, _ = run
    lines = shown.splitlines()
    assert lines[0].startswith("tiny-fp32: ")
    assert max(map(len, lines)) <= 100
    for part in ("Mixed corpus end to end: 24 texts", "Latency,", "Throughput,", "Queries, one at a time", "GOPS"):
        assert part in shown
    # Sparse where there is no terminal: a line for each step.
    assert len(said.splitlines()) < 15


@pytest.mark.parametrize("name", ["latency.png", "throughput.png", "corpus.png", "queries.png"])
def test_plots_are_drawn(run, name):
    pixels = matplotlib_image.imread(run[2] / name)[..., :3]
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 1000
    inked = (pixels < 0.95).any(axis=2).mean()
    assert 0.01 < inked < 0.6
    # Systems are in colour.
    assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 0.3).mean() > 0.0005


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["TINY", "--systems", "magic"],
            "--systems 'magic' is not known; there are native-int8, native-fp32, openvino-int8",
        ),
        (["TINY", "--parts", "magic"], "--parts 'magic' is not known"),
        (["TINY", "--texts", "absent.txt"], "absent.txt"),
        (["TINY", "--texts", "few.txt"], "--texts gives 2 different texts"),
        (["INT8"], "is an int8 folder; MODEL is the fp32 model"),
        (["TINY", "--lengths", "512"], "--lengths 512 is more than tiny-fp32 can take: 130 tokens"),
        (["TINY", "--int8", "absent"], "--int8 absent has no manifest.json"),
        (["TINY", "--texts", "eight.txt"], "the texts give "),
        (["./absent"], "no folder './absent'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_measured(
    tiny, tiny_int8, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    (tmp_path / "eight.txt").write_text("\n".join(f"text {i}" for i in range(8)))
    named = {"TINY": str(tiny), "INT8": str(tiny_int8)}
    assert main(["benchmark", *[named.get(argument, argument) for argument in arguments]]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "iqe-benchmark").exists()


def test_a_library_that_is_missing_is_an_error_when_named(tiny, monkeypatch, capsys, tmp_path):
    from bench.__main__ import main as bench

    from intel_quantized_embeddings.benchmarks import systems

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(systems, "is_installed", lambda module: module != "fastembed")
    assert bench([str(tiny), "--systems", "fastembed-fp32"]) == 1
    assert "fastembed-fp32 can't be measured here: pip install fastembed" in capsys.readouterr().err


def test_a_system_that_fails_is_an_error_when_named(tiny, texts, tmp_path):
    other = tmp_path / "of-another-version"
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    done = iqe(
        tiny, "--int8", other, "--texts", texts, "--output", tmp_path / "out", "--systems", "native-int8", *SMALL
    )
    assert done.returncode == 1
    assert "--systems native-int8 failed: UnsupportedModelError: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_processes_of_their_own_measure_openvino_in_input_order_and_the_cpus_own_rate(
    tiny, tiny_int8_of, texts, tmp_path
):
    """Whose graph is the same, however texts are put in batches."""
    systems = ["--systems", "openvino-int8", "input-order-int8", "--parts", "corpus", "throughput", "queries"]
    shared = ["--int8", tiny_int8_of("openvino"), "--texts", texts, "--output", tmp_path / "out"]
    done = iqe(tiny, *shared, *systems, *SMALL)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8"))
    assert content["cosines"]["input-order-int8"] == content["cosines"]["openvino-int8"]
    assert content["arithmetic"]["peak_gops_per_core"] > 1


@pytest.mark.reference
@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(["--systems", "sentence-transformers-fp32", "openvino-genai-int8"], id="two"),
        pytest.param([], id="all", marks=pytest.mark.soak),
    ],
)
def test_other_libraries_give_this_models_vectors(tiny, tiny_int8_of, texts, tmp_path, chosen):
    """Each is set up with the model's own pooling."""
    pytest.importorskip("openvino_genai", reason="other libraries are in the reference environment only")
    shared = ["--int8", tiny_int8_of("openvino"), "--texts", texts, "--output", tmp_path / "out", "--parts", "corpus"]
    done = run_in_checkout("bench", tiny, *shared, *SMALL, "--repeats", "1", *chosen)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8"))
    assert content["failed"] == {}
    assert content["wrong_vectors"] == []
    assert content["baseline"] == "sentence-transformers-fp32"
    assert content["cosines"]["sentence-transformers-fp32"]["worst"] > 0.9999
    assert "openvino-genai-int8" in content["cosines"]
