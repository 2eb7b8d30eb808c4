"""The whole benchmark, part by part: which systems are loaded when, and which results are kept."""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

from intel_quantized_embeddings.benchmarks import parts
from intel_quantized_embeddings.benchmarks.loaded import Request
from intel_quantized_embeddings.benchmarks.options import LATENCY_TURNS, Options, Subject, speed_calls
from intel_quantized_embeddings.benchmarks.parts import SystemFailedError, Turns
from intel_quantized_embeddings.benchmarks.plots import draw
from intel_quantized_embeddings.benchmarks.progress import Progress
from intel_quantized_embeddings.benchmarks.results import (
    Results,
    corpus_facts,
    largest_calls,
    model_facts,
    run_settings,
)
from intel_quantized_embeddings.benchmarks.summaries import (
    beside_baseline,
    beside_one_thread,
    summarize_queries,
    times_as_fast,
)
from intel_quantized_embeddings.benchmarks.systems import (
    BATCH_SIZE,
    OURS,
    REFERENCE,
    SYSTEMS,
    Selection,
    System,
    select,
)
from intel_quantized_embeddings.benchmarks.texts import SEED, Corpus, open_tokenizer, query_texts, read_corpus
from intel_quantized_embeddings.benchmarks.timing import Effort
from intel_quantized_embeddings.benchmarks.worker import Worker
from intel_quantized_embeddings.int8_folder.fidelity import CosineSummary, SparseSummary, summarize_vectors
from intel_quantized_embeddings.models.tokenizer_files import TOKENIZER_FILE
from intel_quantized_embeddings.reporting.machine import busy_cores, recorded, without_paths
from intel_quantized_embeddings.reporting.plotting import require_matplotlib

RESULTS_FILE = "benchmark.json"
_THREAD_COUNTS = (1, 8)
_THREAD_TEXTS = 400
_REFERENCE_SYSTEM = next(system for system in SYSTEMS if system.name == REFERENCE)


def benchmark(
    options: Options, *, command: Sequence[str], progress: Progress, systems: Sequence[System] = SYSTEMS
) -> Results:
    """Measure the parts that the options ask for on the available systems, write `benchmark.json` and draw the plots.

    Raises:
        OptionError: An option is not allowed, or a system asked for by name can't run here.
        SystemFailedError: A system asked for by name failed.
        MissingExtraError: matplotlib is not installed.
        QuantizedEmbeddingsError: The model or the texts are not there, or not what they should be.
    """
    require_matplotlib(extra="benchmark")
    selection = select(options.systems, systems)
    subject = Subject.find(options)
    if subject.source.is_sparse:
        selection = selection.for_sparse(named=options.systems is not None)
    corpus = read_corpus(options.texts, count=options.corpus_size)
    labels = {system.name: system.label for system in systems}
    run = _Run(options, subject, corpus, selection, labels, command, progress)
    options.output.mkdir(parents=True, exist_ok=True)
    run.prepare()
    for part in (run.speed, run.corpus, run.queries, run.threads, run.arithmetic):
        run.results.others_busy_cores[part.__name__] = busy_cores()
        part()
        run.results.write(options.output / RESULTS_FILE)
    draw(run.results, options.output)
    return run.results


class _Run:
    """One run. Its methods are its parts; each adds to the results."""

    def __init__(
        self,
        options: Options,
        subject: Subject,
        corpus: Corpus,
        selection: Selection,
        labels: dict[str, str],
        command: Sequence[str],
        progress: Progress,
    ) -> None:
        self._options = options
        self._subject = subject
        self._texts = list(corpus.texts)
        tokenizer = open_tokenizer(subject.source.path / TOKENIZER_FILE)
        # Cut before anything is made or measured, because too few texts are an error.
        self._calls = speed_calls(options, subject, corpus.texts, tokenizer)
        self._queries: list[str] = []
        if {"queries", "threads"} & set(options.parts):
            longest = subject.longest_query
            self._queries = query_texts(corpus.texts, tokenizer, count=options.queries, longest=longest)
        self._systems = {system.name: system for system in selection.systems}
        self._progress = progress
        self._request = subject.request(options, max_length=subject.max_length)
        self.results = Results(
            **recorded(command),
            model=subject.source.name,
            model_facts=model_facts(subject, self._request),
            settings=run_settings(options, subject, self._request),
            corpus_facts=corpus_facts(corpus, tokenizer, subject.max_length),
            labels=labels,
            baseline=None,
            not_measured=selection.not_measured,
        )

    def prepare(self) -> None:
        """Make the model files that systems need, each in a process that ends before anything is timed."""
        makers = [system for system in self._systems.values() if system.prepare is not None]
        with self._progress.part("prepare", total=len(makers)) as advance:
            for system in makers:
                try:
                    with Worker(system.job(self._request)) as worker:
                        worker.ask("prepare")
                except SystemFailedError as exc:
                    self._failed(system.name, exc)
                advance(system.name)

    def speed(self) -> None:
        """Measure latency by length and throughput by batch size."""
        if not self._calls:
            return
        subject, results = self._subject, self.results
        longest = max(subject.max_length, subject.throughput_tokens, *subject.lengths)
        with self._loaded(next(iter(self._calls)), dataclasses.replace(self._request, max_length=longest)) as workers:
            for part, calls in self._calls.items():
                turns = self._options.repeats * (LATENCY_TURNS if part == "latency" else 1)
                steps = sum(Effort.of(len(texts), turns=turns).turns + 1 for texts, *_ in calls.values())
                with self._turns(part, workers, steps) as systems:
                    found = [parts.measure_size(systems, of, size=size, turns=turns) for size, of in calls.items()]
                results.baseline = self._baseline()
                getattr(results, part).extend(beside_baseline(list(chain(*found)), results.baseline))

    def corpus(self) -> None:
        """Measure the mixed corpus, end to end, and every system's vectors beside this package's in fp32."""
        if "corpus" not in self._options.parts:
            return
        turns, results = self._options.repeats, self.results
        with self._loaded("corpus", self._request) as workers, self._turns("corpus", workers, turns + 1) as systems:
            found, vectors = parts.measure_corpus(systems, self._texts, batch_size=BATCH_SIZE, turns=turns)
        results.baseline = self._baseline()
        results.corpus = beside_baseline(found, results.baseline)
        results.ours_to_others = times_as_fast(results.corpus, OURS)
        results.cosines = self._cosines(self._texts, vectors)

    def queries(self) -> None:
        """Measure queries one at a time in fresh processes."""
        if "queries" not in self._options.parts:
            return
        rounds = self._options.query_rounds
        start = {
            name: functools.partial(Worker, system.job(self._request))
            for name, system in self._systems.items()
            if "queries" in system.parts
        }
        with self._progress.part("queries", total=len(start) * rounds) as advance:
            runs, vectors, loading = parts.measure_queries(
                start, self._queries, rounds=rounds, seed=SEED, advance=advance, failed=self._failed
            )
        if not runs:
            return
        results = self.results
        results.query_baseline = next((name for name in runs if self._systems[name].query_baseline), None)
        results.queries = summarize_queries(runs, baseline=results.query_baseline)
        results.loading_s = {name: statistics.median(seconds) for name, seconds in loading.items()}
        results.query_cosines = self._cosines(self._queries, vectors, one_by_one=self._request.sparse)

    def threads(self) -> None:
        """Measure queries from several threads through one object."""
        if "threads" not in self._options.parts:
            return
        turns = self._options.repeats
        steps = len(_THREAD_COUNTS) * turns + 1
        with self._loaded("threads", self._request) as workers, self._turns("threads", workers, steps) as systems:
            texts = self._queries[:_THREAD_TEXTS]
            found = parts.measure_threads(systems, texts, counts=_THREAD_COUNTS, turns=turns)
        self.results.threads = beside_one_thread(found)

    def arithmetic(self) -> None:
        """Compute int8 operations a second in the largest calls, and measure the rate of plain int8 matmuls."""
        size, results = self._subject.size, self.results
        measured = [one for one in results.throughput if "int8" in one.system]
        if size is None or not measured:
            reason = "this architecture's operations are not counted" if size is None else "needs int8 throughput"
            results.not_measured["arithmetic in int8"] = reason
            return
        with self._progress.part("int8 peak", total=1) as advance:
            try:
                with Worker(_REFERENCE_SYSTEM.job(self._request)) as worker:
                    peak = worker.ask("measure_int8_peak")
            except SystemFailedError as exc:
                peak = None
                results.failed["plain int8 matmuls"] = without_paths(str(exc))
            advance("")
        results.arithmetic = largest_calls(
            measured, size, tokens=self._subject.throughput_tokens, cores=self._request.num_threads, peak=peak
        )

    @contextmanager
    def _loaded(self, part: str, request: Request) -> Iterator[dict[str, Worker]]:
        """Yield every system of a part, each loaded in its process; the processes end with the part."""
        with ExitStack() as stack:
            workers = {}
            systems = [system for system in self._systems.values() if part in system.parts]
            with self._progress.part("load", total=len(systems)) as advance:
                for system in systems:
                    worker = stack.enter_context(Worker(system.job(request)))
                    try:
                        _, self.results.given[system.name] = worker.ask("load")
                        workers[system.name] = worker
                    except SystemFailedError as exc:
                        self._failed(system.name, exc)
                    advance(system.name)
            yield workers

    @contextmanager
    def _turns(self, part: str, workers: dict[str, Worker], steps: int) -> Iterator[Turns]:
        """Yield turns of the workers that have not failed yet, with a bar of the given number of steps for each."""
        able = {name: worker for name, worker in workers.items() if name in self._systems}
        with self._progress.part(part, total=len(able) * steps) as advance:
            yield Turns(able, seed=SEED, advance=advance, failed=self._failed)

    def _cosines(
        self, texts: list[str], vectors: dict[str, Any], *, one_by_one: bool = False
    ) -> dict[str, CosineSummary | SparseSummary]:
        """Return the cosines of each system's vectors to this package's fp32 ones.

        Those are encoded `one_by_one` as queries, which may take another way than documents.
        """
        if not vectors:
            return {}
        if REFERENCE in vectors:
            expected = vectors[REFERENCE]
        else:
            try:
                with Worker(_REFERENCE_SYSTEM.job(self._request)) as worker:
                    worker.ask("load")
                    if one_by_one:
                        _, expected = worker.ask("time_queries", texts)
                    else:
                        expected = worker.ask("encode", texts, BATCH_SIZE)
            except SystemFailedError as exc:
                self.results.failed[f"{_REFERENCE_SYSTEM.label}, for the cosines"] = without_paths(str(exc))
                return {}
        return {name: summarize_vectors(expected, found) for name, found in vectors.items()}

    def _failed(self, name: str, error: Exception) -> None:
        """Report a system that failed and go on without it, unless it was asked for by name."""
        label = self._systems[name].label
        if self._options.systems is not None:
            raise SystemFailedError(f"--systems {name} failed: {error}") from error
        self.results.failed[label] = without_paths(str(error))
        self._progress.say(f"{label} failed: {error}")
        del self._systems[name]

    def _baseline(self) -> str | None:
        """Return the baseline of ratios, among the systems that still run."""
        named = (name for name, system in self._systems.items() if system.baseline or name == REFERENCE)
        return max(named, key=lambda name: self._systems[name].baseline, default=None)
