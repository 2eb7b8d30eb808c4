"""The results of `iqe compare`, as JSON and as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from intel_quantized_embeddings.benchmarks.summaries import QuerySummary, Spread, Summary
from intel_quantized_embeddings.benchmarks.tables import busy_notes
from intel_quantized_embeddings.evaluation.results import OnDataset
from intel_quantized_embeddings.evaluation.tables import LEGEND, dataset_lines
from intel_quantized_embeddings.reporting.machine import Machine

FORMAT_VERSION = 1
# Below this two encoders are not of one model, and their cosines mean nothing.
_ONE_MODEL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareResults:
    """The results of a run.

    Attributes:
        date: Its end, UTC.
        command: The command line, without paths.
        written: A and B as on the command line, without paths.
        encoders: Facts about each: fingerprint, pooling, longest text, numbers in a vector; or endpoint and model.
        threads: Threads of each in this process; an endpoint has its own.
        libraries: Versions.
        datasets: The comparison of B with A on each dataset.
        texts: Number of texts encoded at once in a turn to measure speed.
        documents: Times of that, with B's ratio to A's, turn by turn.
        queries: Times of one query after another, in fresh processes.
        loading_s: Median seconds of importing and loading.
        others_busy_cores: Cores that other programs used before speed was measured; None if unknown.
    """

    date: str
    command: list[str]
    written: dict[str, str]
    encoders: dict[str, dict[str, Any]]
    threads: int
    machine: Machine
    libraries: dict[str, str]
    datasets: list[OnDataset]
    texts: int
    documents: list[Summary]
    queries: list[QuerySummary]
    loading_s: dict[str, float]
    others_busy_cores: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the results for a JSON file."""
        return {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}

    @property
    def faster(self) -> str:
        """Return B's speed relative to A's, in a few words."""
        documents = next(one.ratio for one in self.documents if one.system == "B")
        queries = next(one.ratio_p50 for one in self.queries if one.system == "B")
        return f"{_times(documents)} A's documents and {_times(queries)} its queries a second"


def table(results: CompareResults) -> str:
    """Format the results as text, at most 100 columns wide."""
    parts = [
        list(_heads(results)),
        *(dataset_lines(one, "A") for one in results.datasets),
        _speed(results),
        list(_notes(results)),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _heads(results: CompareResults) -> Iterator[str]:
    for side, written in results.written.items():
        found = results.encoders[side]
        what = f"{found['pooling']} pooling, {found['max_length']} tokens at most, " if "pooling" in found else ""
        yield f"{side}  {written}: {what}{found['dimension']} numbers a vector"


def _speed(results: CompareResults) -> list[str]:
    header = (
        f"   {'documents/s':>11} {'10-90 %':>15} {'by A':>6} {'10-90 %':>11}   {'query p50':>9} {'p99 ms':>7} "
        f"{'by A':>6} {'load s':>7}"
    )
    lines = [
        f"Speed, taking turns: {results.texts} texts at once, {results.queries[0].queries} queries one by one right "
        f"after loading",
        header,
        "-" * len(header),
    ]
    for documents, queries in zip(results.documents, results.queries, strict=True):
        speed, ratio, is_b = documents.texts_per_second, documents.ratio, documents.system == "B"
        by_a = f"{_times(ratio):>6} {ratio.low:5.2f}-{ratio.high:.2f}" if is_b and ratio is not None else ""
        lines.append(
            f"{documents.system}  {speed.median:11.1f} {f'{speed.low:.1f}-{speed.high:.1f}':>15} {by_a:18}   "
            f"{queries.p50_ms:9.2f} {queries.p99_ms:7.2f} {_times(queries.ratio_p50) if is_b else '':>6} "
            f"{results.loading_s[queries.system]:7.1f}"
        )
    return lines


def _notes(results: CompareResults) -> Iterator[str]:
    cosines = [cosine for one in results.datasets for cosine in one.comparisons["B"].cosines.values()]
    yield from (line.format(reference="A") for line in LEGEND[: 3 if cosines else 2])
    if not cosines:
        yield "no cosines: the vectors of A and B have different sizes"
    elif min(cosine.mean for cosine in cosines) < _ONE_MODEL:
        yield f"cosines below {_ONE_MODEL}: A and B are not one model; look at the scores and what they find in common"
    if any("endpoint" in found for found in results.encoders.values()):
        yield "an endpoint's speed is with its network, and with whatever else it does"
    yield from busy_notes(results.others_busy_cores or 0.0)


def _times(ratio: Spread | None) -> str:
    return f"{ratio.median:.2f}x" if ratio is not None else ""
