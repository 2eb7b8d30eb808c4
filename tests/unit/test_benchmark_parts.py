"""The measurements, driven against made-up systems."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from bench.systems import SYSTEMS

from intel_quantized_embeddings.benchmarks import parts
from intel_quantized_embeddings.benchmarks.parts import SystemFailedError, Turns
from intel_quantized_embeddings.benchmarks.plots import _turns, draw
from intel_quantized_embeddings.benchmarks.results import Arithmetic, Results
from intel_quantized_embeddings.benchmarks.summaries import Summary, beside_baseline, summarize_queries
from intel_quantized_embeddings.benchmarks.tables import WIDTH, table
from intel_quantized_embeddings.int8_folder.fidelity import CosineSummary
from intel_quantized_embeddings.reporting.machine import describe_machine


class FakeWorker:
    """Answers as a worker does, at so many seconds a text, and remembers what it was asked."""

    def __init__(self, seconds=1.0, *, fails_at=None, asked=None):
        self.seconds = seconds
        self.fails_at = fails_at
        self.asked = [] if asked is None else asked

    def ask(self, command, *arguments):
        self.asked.append((self, command))
        if command == self.fails_at:
            raise SystemFailedError(f"{command} broke")
        if command == "load":
            return 0.5, {}
        texts = arguments[0]
        return {
            "encode": lambda: np.ones((len(texts), 2), dtype=np.float32),
            "time_encode": lambda: (self.seconds * len(texts),) * arguments[2 if command == "time_encode" else 0],
            "time_queries": lambda: ([self.seconds] * len(texts), np.ones((len(texts), 2), dtype=np.float32)),
            "time_threads": lambda: self.seconds * len(texts) / arguments[1],
        }[command]()


def nothing(*_):
    pass


def turns_of(workers, *, advance=nothing, failed=nothing):
    return Turns(workers, seed=0, advance=advance, failed=failed)


def measure_sizes(systems, jobs, *, turns):
    return [one for size, calls in jobs.items() for one in parts.measure_size(systems, calls, size=size, turns=turns)]


def test_sizes_are_warmed_up_before_they_are_timed_and_systems_alternate():
    asked, done = [], []
    workers = {"a": FakeWorker(1.0, asked=asked), "b": FakeWorker(2.0, asked=asked)}
    jobs = {1: [["x"], ["y"]], 4: [["a", "b", "c", "d"]]}
    measured = measure_sizes(turns_of(workers, advance=done.append), jobs, turns=3)
    assert [(one.system, one.size, one.texts, one.turns) for one in measured] == [
        ("a", 1, 1, (1.0,) * 3),
        ("b", 1, 1, (2.0,) * 3),
        ("a", 4, 4, (4.0,) * 3),
        ("b", 4, 4, (8.0,) * 3),
    ]
    first = [(worker, command) for worker, command in asked[:10]]
    assert [command for _, command in first] == ["encode"] * 4 + ["time_encode"] * 6
    turns = [{worker for worker, _ in first[at : at + 2]} for at in (4, 6, 8)]
    assert all(len(turn) == 2 for turn in turns)
    assert [sorted(done[at : at + 2]) for at in range(0, len(done), 2)] == [["a", "b"]] * (3 + 1 + 3 + 1)


def test_a_system_that_can_not_do_a_job_is_reported_and_left_out():
    errors = []
    workers = {"good": FakeWorker(), "bad": FakeWorker(fails_at="encode")}
    shared = {"failed": lambda *error: errors.append(error)}
    measured = measure_sizes(turns_of(workers, **shared), {1: [["x"]], 2: [["x", "y"]]}, turns=2)
    assert {one.system for one in measured} == {"good"}
    assert [(name, str(error)) for name, error in errors] == [("bad", "encode broke")]
    measured, vectors = parts.measure_corpus(turns_of(workers, **shared), ["x", "y"], batch_size=32, turns=2)
    assert list(vectors) == ["good"]
    assert [one.turns for one in measured] == [(2.0, 2.0)]


def test_a_system_that_fails_in_a_timed_turn_is_reported_once_and_the_others_go_on():
    errors = []

    def systems(command):
        workers = {"bad": FakeWorker(fails_at=command), "good": FakeWorker()}
        return turns_of(workers, failed=lambda *error: errors.append(error))

    sizes = measure_sizes(systems("time_encode"), {1: [["x"]], 2: [["x", "y"]]}, turns=3)
    assert [(one.system, one.size) for one in sizes] == [("good", 1), ("good", 2)]
    measured, vectors = parts.measure_corpus(systems("time_encode"), ["x"], batch_size=32, turns=3)
    assert [one.system for one in measured] == list(vectors) == ["good"]
    for command in ("time_queries", "time_threads"):
        threads = parts.measure_threads(systems(command), ["x"] * 8, counts=(1, 8), turns=3)
        assert [(one.system, one.size) for one in threads] == [("good", 1), ("good", 8)]
    assert [(name, str(error)) for name, error in errors] == [
        *[("bad", "time_encode broke")] * 2,
        *[("bad", "time_queries broke"), ("bad", "time_threads broke")],
    ]


def test_one_asked_for_by_name_ends_the_run():
    def named(name, error):
        raise SystemFailedError(f"--systems {name} failed: {error}")

    systems = turns_of({"bad": FakeWorker(fails_at="time_encode")}, failed=named)
    with pytest.raises(SystemFailedError, match="--systems bad failed: time_encode broke"):
        parts.measure_size(systems, [["x"]], size=1, turns=2)


def test_each_run_of_queries_is_a_fresh_process():
    asked = []
    start = {
        "ours": lambda: nullcontext(FakeWorker(0.001, asked=asked)),
        "bad": lambda: nullcontext(FakeWorker(fails_at="load")),
    }
    failed = []
    runs, vectors, loading = parts.measure_queries(
        start, ["a", "b"], rounds=3, seed=0, advance=nothing, failed=lambda name, _: failed.append(name)
    )
    assert runs == {"ours": [[0.001, 0.001]] * 3}
    assert loading == {"ours": [0.5] * 3}
    assert vectors["ours"].shape == (2, 2)
    assert failed == ["bad"]
    assert len({worker for worker, _ in asked}) == 3
    assert [command for _, command in asked] == ["load", "time_queries"] * 3


def test_threads_share_one_object():
    measured = parts.measure_threads(turns_of({"ours": FakeWorker()}), ["a"] * 8, counts=(1, 8), turns=2)
    assert [(one.size, one.turns) for one in measured] == [(1, (8.0, 8.0)), (8, (1.0, 1.0))]


@pytest.fixture
def results():
    labels = {system.name: system.label for system in SYSTEMS}
    systems = list(labels)
    series = [Summary.of(name, size=n, texts=n, turns=(0.01 * n, 0.02 * n)) for name in systems for n in (1, 16, 256)]
    cosine = CosineSummary(mean=0.9977, percentile_1=0.99, worst=0.98, count=10)
    return Results(
        date="2026-01-01T00:00:00+00:00",
        command=["iqe", "benchmark"],
        model="org/model",
        model_facts={},
        settings={
            "threads": 2,
            "max_length": 256,
            "turns": 2,
            "latency_turns": 8,
            "query_rounds": 3,
            "throughput_tokens": 256,
            "longest_query": 60,
        },
        machine=describe_machine(),
        libraries={"openvino": "1"},
        corpus_facts={"texts": 16, "tokens_mean": 80.0},
        labels=labels,
        baseline="openvino-fp32",
        not_measured={"fastembed ONNX fp32": "pip install fastembed and quite a number of other libraries " * 2},
        failed={"openvino-genai int8": "RuntimeError: no"},
        latency=beside_baseline(series, "openvino-fp32"),
        throughput=beside_baseline(series, "openvino-fp32"),
        corpus=beside_baseline([one for one in series if one.size == 16], "openvino-fp32"),
        cosines=dict.fromkeys(systems, cosine)
        | {"fastembed-fp32": CosineSummary(mean=0.5, percentile_1=0.1, worst=0.0, count=10)},
        others_busy_cores={"corpus": 0.01, "queries": 1.02},
        queries=summarize_queries({"openvino-int8": [[1.0, 2.0, 30.0]]}, baseline=None),
        arithmetic=Arithmetic(
            tokens=256,
            batch=8,
            operations_per_token=1,
            gops_per_core={"openvino-int8": 200.0},
            peak_gops_per_core=400.0,
        ),
    )


def test_the_table_fits_a_terminal_and_names_what_is_wrong_missing_and_failed(results):
    text = table(results)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "! fastembed ONNX fp32: cosine below 0.9; these are not this model's vectors" in text
    assert "failed: openvino-genai int8: RuntimeError: no" in text
    assert "not measured: fastembed ONNX fp32 (pip install fastembed" in text
    assert "50 %" in text
    assert "! other programs used up to 1.0 cores before a part began" in text
    assert results.wrong == ["fastembed-fp32"]


def test_the_table_fits_a_terminal_however_fast_the_machine(results):
    fast = [Summary.of(name, size=16, texts=16, turns=(1e-4, 2e-4)) for name in results.labels]
    results.corpus = results.threads = beside_baseline(fast, "openvino-fp32")
    text = table(results)
    assert "88000-152000" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_int8_that_is_slower_than_fp32_is_said_with_its_figure(results):
    assert "of fp32's speed" not in table(results)
    seconds = {"openvino-int8": 0.2, "openvino-fp32": 0.1, "ipex-int8": 0.1, "ipex-fp32": 0.2}
    series = [Summary.of(name, size=16, texts=16, turns=(took, took)) for name, took in seconds.items()]
    results.corpus = beside_baseline(series, "openvino-fp32")
    (line,) = [line for line in table(results).splitlines() if "of fp32's speed" in line]
    assert line.startswith("! iqe openvino int8 has 0.50 of fp32's speed on this CPU")


def test_a_table_and_plots_are_made_of_whatever_is_there(results, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib (the benchmark extra) is not installed")
    results.latency, results.corpus, results.queries, results.arithmetic = [], [], [], None
    results.not_measured["arithmetic in int8"] = "needs int8 throughput"
    assert "not measured: arithmetic in int8 (needs int8 throughput)" in table(results)
    assert [file.name for file in draw(results, tmp_path)] == ["throughput.png"]


def test_a_plot_says_how_many_turns_there_were():
    series = [Summary.of("a", size=n, texts=n, turns=(1.0,) * turns) for n, turns in ((1, 5), (32, 5), (256, 3))]
    assert _turns(series) == "medians of 3 to 5 interleaved turns, 10 to 90 %"
    assert _turns(series[:2]) == "medians of 5 interleaved turns, 10 to 90 %"


def test_the_json_has_no_more_digits_than_mean_something(results):
    text = results.to_json()
    assert '"wrong_vectors": [\n  "fastembed-fp32"\n ]' in text
    assert max(len(number) for number in __import__("re").findall(r"\d\.(\d+)", text)) <= 8
