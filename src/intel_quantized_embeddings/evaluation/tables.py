"""The table on the terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from intel_quantized_embeddings.evaluation.comparison import Comparison, Difference
from intel_quantized_embeddings.evaluation.results import EvaluationResults, OnDataset
from intel_quantized_embeddings.int8_folder.fidelity import CosineSummary
from intel_quantized_embeddings.similarity import Similarity

LEGEND = (
    "change: to {reference}, with the 95 % interval of a paired bootstrap",
    "(in brackets): not told from chance, the interval holds 0",
    "cosine: to {reference}, of the same texts",
)


def table(results: EvaluationResults) -> str:
    """Format the results of a run as text."""
    settings = results.settings
    has_vectors = "pooling" in settings
    kind = f"{settings['pooling'].value} pooling" if has_vectors else "cross-encoder"
    if "head" in settings:
        kind = f"sparse ({settings['head'].value})"
    parts = [
        [f"{results.model}, {kind}, {settings['max_length']} tokens at most{_compared(settings)}"],
        *(dataset_lines(one, results.reference) for one in results.datasets),
        [line.format(reference=results.reference) for line in LEGEND[: None if has_vectors else 2]],
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _compared(settings: dict[str, Any]) -> str:
    """Return a line on the similarity if it is not the cosine."""
    similarity = settings.get("similarity", Similarity.COSINE)
    return "" if similarity is Similarity.COSINE else f", compared by {similarity.value}"


def dataset_lines(one: OnDataset, reference: str) -> list[str]:
    """Format the results on one dataset as lines; `reference` is the label that others are compared with."""
    width = max(len(label) for label in (reference, *one.comparisons))
    header = f"{'':14} {'':{width}} {'score':>7} {'change':>11}   95 % interval"
    lines = [one.dataset, header, "-" * (len(header) + 4)]
    for metric, score in one.reference.items():
        lines.append(f"{metric:14} {reference:{width}} {score:7.4f}")
        for label, comparison in one.comparisons.items():
            (difference,) = (found for found in comparison.differences if found.metric == metric)
            lines.append(f"{'':14} {label:{width}} {_change(difference)}")
    for label, comparison in one.comparisons.items():
        lines += [f"{label:{width}}  {fact}" for fact in _facts(comparison)]
    return lines


def _change(difference: Difference) -> str:
    change = f"{100 * difference.change:+.2f} %"
    shown = f"({change})" if difference.is_noise else f"{change} "
    return f"{difference.score:7.4f} {shown:>11}   {100 * difference.low:+.2f} to {100 * difference.high:+.2f} %"


def _facts(comparison: Comparison) -> Iterator[str]:
    for kind, cosines in comparison.cosines.items():
        if isinstance(cosines, CosineSummary):
            yield f"cosine, {kind}: {cosines}"
            continue
        cosine, weights = str(cosines).split("; ")  # one line would be too wide
        yield f"{cosine.replace('cosine', f'cosine, {kind}:', 1)}"
        yield f"weights, {kind}: {weights}"
    if comparison.overlap is not None:
        yield f"first ten documents in common: {100 * comparison.overlap:.1f} %"
