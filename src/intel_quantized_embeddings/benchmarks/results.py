"""The results of one run with the facts recorded beside its figures, and their JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from intel_quantized_embeddings.benchmarks.arithmetic import EncoderSize, gops_per_core, operations_per_token
from intel_quantized_embeddings.benchmarks.loaded import Request
from intel_quantized_embeddings.benchmarks.options import LATENCY_TURNS, Options, Subject
from intel_quantized_embeddings.benchmarks.summaries import QuerySummary, Spread, Summary
from intel_quantized_embeddings.benchmarks.systems import BATCH_SIZE
from intel_quantized_embeddings.benchmarks.texts import SEED, Corpus
from intel_quantized_embeddings.benchmarks.timing import Effort
from intel_quantized_embeddings.int8_folder.fidelity import CosineSummary, SparseSummary
from intel_quantized_embeddings.reporting.machine import Machine

FORMAT_VERSION = 1
# Below this a system does not give this model's vectors: its pooling or its files are wrong.
LOW_COSINE = 0.9
# Above this other programs disturb the figures; torch's, whose threads wait for each other, several times over.
BUSY_CORES = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """The share of the CPU's int8 arithmetic that encoding uses, in the largest calls of the throughput part."""

    tokens: int  # in each text
    batch: int  # texts in a call
    operations_per_token: int
    gops_per_core: dict[str, float]  # billions of operations a second and core, under each system's name
    peak_gops_per_core: float | None  # the rate of plain int8 matmuls; None if it was not measured


def largest_calls(
    measured: Sequence[Summary], size: EncoderSize, *, tokens: int, cores: int, peak: float | None
) -> Arithmetic:
    """Return the arithmetic of the largest measured calls, the only ones whose batches run side by side."""
    batch = max(one.size for one in measured)
    return Arithmetic(
        tokens=tokens,
        batch=batch,
        operations_per_token=operations_per_token(size, tokens=tokens),
        gops_per_core={
            one.system: gops_per_core(size, tokens=tokens, texts_per_second=one.texts_per_second.median, cores=cores)
            for one in measured
            if one.size == batch
        },
        peak_gops_per_core=peak,
    )


@dataclass(slots=True, kw_only=True)
class Results:
    """The results of a run, filled part by part.

    Attributes:
        date: Its beginning, UTC.
        command: The command line, without paths.
        model_facts: Sizes, pooling and other facts about the model.
        settings: Threads, lengths, turns, seeds.
        libraries: Versions.
        corpus_facts: Count, digest, sources and lengths of the texts.
        labels: Each system's name in tables and plots.
        baseline: The system whose times the ratios are to.
        query_baseline: The same for the queries part.
        not_measured: By label, the reason why a system (or the arithmetic part) was left out.
        failed: By label, the error of a system that could not be loaded or run.
        ours_to_others: The speed of this package's int8 on the corpus relative to each other system, turn by turn.
        cosines: Cosines of each system's vectors to this package's fp32 ones, on the corpus.
        query_cosines: The same on the queries.
        others_busy_cores: Cores that other programs used just before each part; None if unknown.
        loading_s: Median seconds of importing and loading, in the processes that the queries ran in.
    """

    date: str
    command: list[str]
    model: str
    model_facts: dict[str, Any]
    settings: dict[str, Any]
    machine: Machine
    libraries: dict[str, str]
    corpus_facts: dict[str, Any]
    labels: dict[str, str]
    baseline: str | None
    not_measured: dict[str, str]
    given: dict[str, dict[str, str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    latency: list[Summary] = field(default_factory=list)
    throughput: list[Summary] = field(default_factory=list)
    corpus: list[Summary] = field(default_factory=list)
    ours_to_others: dict[str, Spread] = field(default_factory=dict)
    cosines: dict[str, CosineSummary | SparseSummary] = field(default_factory=dict)
    query_baseline: str | None = None
    queries: list[QuerySummary] = field(default_factory=list)
    query_cosines: dict[str, CosineSummary | SparseSummary] = field(default_factory=dict)
    others_busy_cores: dict[str, float | None] = field(default_factory=dict)
    loading_s: dict[str, float] = field(default_factory=dict)
    threads: list[Summary] = field(default_factory=list)
    arithmetic: Arithmetic | None = None

    @property
    def wrong(self) -> list[str]:
        """The names of systems whose vectors are not this model's."""
        measured = [*self.cosines.items(), *self.query_cosines.items()]
        return list(dict.fromkeys(name for name, cosine in measured if cosine.mean < LOW_COSINE))

    def to_json(self) -> str:
        """Return the results as JSON."""
        content = {"format": FORMAT_VERSION, **dataclasses.asdict(self), "wrong_vectors": self.wrong}
        return json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n"

    def write(self, file: Path) -> None:
        """Write the JSON."""
        file.write_text(self.to_json(), "utf-8")


def model_facts(subject: Subject, request: Request) -> dict[str, Any]:
    """Return facts about the model."""
    return {
        "revision_or_weights_sha256": subject.digest,
        "pooling": subject.settings.pooling_name,
        "normalize": request.normalize,
        "dimension": subject.dimension,
        "size": None if subject.size is None else dataclasses.asdict(subject.size),
    }


def run_settings(options: Options, subject: Subject, request: Request) -> dict[str, Any]:
    """Return the settings of the measurement."""
    return {
        "threads": request.num_threads,
        "max_length": subject.max_length,
        "turns": options.repeats,
        "latency_turns": options.repeats * LATENCY_TURNS,
        "throughput_turns": {str(size): Effort.of(size, turns=options.repeats).turns for size in options.batch_sizes},
        "query_rounds": options.query_rounds,
        "batch_size": BATCH_SIZE,
        "throughput_tokens": subject.throughput_tokens,
        "longest_query": subject.longest_query,
        "instructions": "none, for any system",
        "seed": SEED,
    }


def corpus_facts(corpus: Corpus, tokenizer: Any, max_length: int) -> dict[str, Any]:
    """Return facts about the texts, without the texts."""
    natural = [len(encoding.ids) for encoding in tokenizer.encode_batch_fast(list(corpus.texts))]
    lengths = np.minimum(natural, max_length)
    return {
        "texts": len(corpus.texts),
        "sources": corpus.sources,
        "sha256": corpus.digest,
        "seed": SEED,
        "tokens_mean": float(lengths.mean()),
        "tokens_percentiles": {str(p): float(np.percentile(lengths, p)) for p in (0, 10, 50, 90, 100)},
    }


def _rounded(value: Any) -> Any:
    """Round numbers to seven significant digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value
