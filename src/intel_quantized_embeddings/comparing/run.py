"""Encode datasets with both encoders, compare the measurements, and measure the speed of both in turns."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.benchmarks import parts
from intel_quantized_embeddings.benchmarks.loaded import Job
from intel_quantized_embeddings.benchmarks.progress import Progress
from intel_quantized_embeddings.benchmarks.summaries import Summary, beside_baseline, summarize_queries
from intel_quantized_embeddings.benchmarks.systems import BATCH_SIZE
from intel_quantized_embeddings.benchmarks.texts import SEED, choose
from intel_quantized_embeddings.benchmarks.worker import Worker
from intel_quantized_embeddings.comparing.results import CompareResults
from intel_quantized_embeddings.comparing.sides import Side, facts, similarity_of
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.evaluation.plots import draw
from intel_quantized_embeddings.evaluation.results import OnDataset
from intel_quantized_embeddings.evaluation.run import measure_all
from intel_quantized_embeddings.files.json_files import write_json
from intel_quantized_embeddings.process.cores import granted_cores
from intel_quantized_embeddings.reporting.machine import busy_cores, recorded
from intel_quantized_embeddings.reporting.plotting import require_matplotlib
from intel_quantized_embeddings.tasks.datasets import Dataset, read_dataset, texts_of
from intel_quantized_embeddings.tasks.measure import Measurement

RESULTS_FILE = "comparison.json"
PLOT_FILE = "comparison.png"
_ROUNDS = 2  # fresh processes for the queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command's options, as `iqe compare --help` explains them.

    Raises:
        OptionError: A value is not allowed.
    """

    a: str
    b: str
    datasets: tuple[Path, ...]
    max_length: int | None = None
    threads: int | None = None
    texts: int = 300
    repeats: int = 5
    cache_folder: str | None = None
    local_files_only: bool = False
    allow_torchscript: bool = False
    output: Path = Path("iqe-comparison")

    def __post_init__(self) -> None:
        """Make the checks that need no encoder."""
        for name in ("texts", "repeats"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name} {getattr(self, name)} is not allowed; it is 1 or more.")

    @property
    def loading(self) -> dict[str, Any]:
        """The options of `Encoder.load` for both."""
        given = {name: getattr(self, name) for name in ("max_length", "cache_folder")}
        return {
            **{name: value for name, value in given.items() if value is not None},
            "local_files_only": self.local_files_only,
            "allow_torchscript": self.allow_torchscript,
            "num_threads": self.threads or granted_cores(),
        }


def compare(options: Options, *, command: Sequence[str] = (), progress: Progress | None = None) -> CompareResults:
    """Measure two encoders on datasets and in turns, and write the JSON and the plot.

    Both are loaded before anything is encoded, and each again in a process of its own to measure its speed.

    Raises:
        QuantizedEmbeddingsError: An option is not allowed, or a model, endpoint, dataset or library is not there or not
            what it should be.
        OSError: A file can't be written.
    """
    progress = progress or Progress()
    require_matplotlib(extra="eval")
    sides = {"A": Side.parse(options.a), "B": Side.parse(options.b)}
    datasets = [read_dataset(folder) for folder in options.datasets]
    loaded = {}
    for name, side in sides.items():
        progress.say(f"{name}: loading {side.written}")
        loaded[name] = side.load({**options.loading, "warm_shapes": False})
    measured = {
        name: measure_all(datasets, encoder, name, progress.say, similarity_of(encoder))
        for name, encoder in loaded.items()
    }
    encoders = {name: facts(encoder, _dimension(measured[name])) for name, encoder in loaded.items()}
    loaded.clear()
    busy = busy_cores()
    texts = _drawn(datasets, "documents", options.texts)
    queries = _drawn(datasets, "queries", options.texts)
    with tempfile.TemporaryDirectory(prefix="iqe-compare-") as logs:
        jobs = {name: _job(side, options, Path(logs) / f"{name}.log") for name, side in sides.items()}
        documents = _time_documents(jobs, texts, options.repeats, progress)
        runs, loading = _time_queries(jobs, queries, progress)
    results = CompareResults(
        **recorded(command),
        written={name: side.written for name, side in sides.items()},
        encoders=encoders,
        threads=options.loading["num_threads"],
        datasets=[
            OnDataset.of(dataset, before, {"B": after})
            for dataset, before, after in zip(datasets, measured["A"], measured["B"], strict=True)
        ],
        texts=len(texts),
        documents=documents,
        queries=summarize_queries(runs, baseline="A"),
        loading_s=loading,
        others_busy_cores=busy,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / RESULTS_FILE, results.as_json())
    draw(
        results.datasets,
        options.output / PLOT_FILE,
        title=f"{sides['B'].written} beside {sides['A'].written}",
        subtitle=f"B has {results.faster}",
    )
    progress.say(f"wrote {options.output / RESULTS_FILE} and {options.output / PLOT_FILE}")
    return results


def _dimension(measured: Sequence[Measurement]) -> int:
    """Return the size of a vector."""
    vectors = next(iter(measured[0].vectors.values()))
    return int(vectors.shape[1])


def _drawn(datasets: Sequence[Dataset], kind: str, count: int) -> list[str]:
    """Draw texts from all datasets together, to be timed."""
    sources = {f"{place}": texts_of(dataset)[kind] for place, dataset in enumerate(datasets)}
    return [text for drawn in choose(sources, count=count).values() for text in drawn]


def _job(side: Side, options: Options, log: Path) -> Job:
    return Job(load=partial(side.system, options.loading), log=log, num_threads=options.loading["num_threads"])


def _time_documents(jobs: Mapping[str, Job], texts: list[str], turns: int, progress: Progress) -> list[Summary]:
    """Encode all texts at once, both loaded, turn by turn."""
    with ExitStack() as stack, progress.part("documents", total=(turns + 1) * len(jobs)) as advance:
        workers = {name: stack.enter_context(Worker(job)) for name, job in jobs.items()}
        for worker in workers.values():
            worker.ask("load")
        systems = parts.Turns(workers, seed=SEED, advance=advance, failed=_failed)
        found, _ = parts.measure_corpus(systems, texts, batch_size=BATCH_SIZE, turns=turns)
    return beside_baseline(found, "A")


def _time_queries(
    jobs: Mapping[str, Job], texts: list[str], progress: Progress
) -> tuple[dict[str, list[list[float]]], dict[str, float]]:
    """Embed queries one by one in fresh processes; return milliseconds of each, and the median seconds of loading."""
    start = {name: partial(Worker, job) for name, job in jobs.items()}
    with progress.part("queries", total=len(jobs) * _ROUNDS) as advance:
        runs, _, loading = parts.measure_queries(
            start, texts, rounds=_ROUNDS, seed=SEED, advance=advance, failed=_failed
        )
    return runs, {name: statistics.median(seconds) for name, seconds in loading.items()}


def _failed(name: str, error: Exception) -> None:
    raise parts.SystemFailedError(f"{name} failed while its speed was measured: {error}") from error
