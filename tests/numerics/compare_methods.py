"""Compare ways of quantizing on scifact: python tests/numerics/compare_methods.py MODEL [--only NAME ...].

Prints, as a table in Markdown, for each way: mean / 1st percentile / worst cosine to fp32 of documents and of queries,
nDCG@10, and throughput by that of the defaults (median over turns, in which all of them encode the texts held
out from calibration). All 300 queries; of the documents those that answer one, and --others that answer none.
MODEL is a folder or a hub id; ../shared must lie beside the checkout and the `quantize` and `eval` extras be
installed, for qat torch too. The tables of docs/quantization.md that name this command come from it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import nncf

from intel_quantized_embeddings.int8_folder.config import ActivationRanges, MethodName
from intel_quantized_embeddings.int8_folder.fidelity import summarize_cosines
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.settings import read_settings
from intel_quantized_embeddings.options import RuntimeName
from intel_quantized_embeddings.quantization.calibration import built_in_texts, split
from intel_quantized_embeddings.quantization.job import QAT_MINUTES
from intel_quantized_embeddings.quantization.kinds import EMBEDDER
from intel_quantized_embeddings.quantization.layers import by_sensitivity
from intel_quantized_embeddings.quantization.recipe import ALPHAS, Recipe
from intel_quantized_embeddings.quantization.search import most_faithful
from intel_quantized_embeddings.quantization.subject import Subject
from intel_quantized_embeddings.runtimes.building import build_embedder
from intel_quantized_embeddings.tasks.datasets import read_dataset
from intel_quantized_embeddings.tasks.measure import measure

SCIFACT = Path(__file__).resolve().parents[3] / "shared" / "data" / "scifact"
WAYS = ("smoothquant", "ranges", "symmetric", "bias", "layers", "dynamic", "qat")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare ways of quantizing on scifact.")
    parser.add_argument("model")
    parser.add_argument("--runtime", default="openvino", help="or ipex, with --only qat and --only layers")
    parser.add_argument("--only", nargs="*", choices=WAYS, default=WAYS, help="beside the defaults")
    parser.add_argument("--others", type=int, default=500, help="documents that answer no query")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 4], help="how many are put back")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()

    source = find_model(options.model)
    settings = read_settings(source.path, name=source.name)
    runtime = RuntimeName.parse(options.runtime)
    subject = Subject(
        source,
        runtime=runtime,
        kind=EMBEDDER,
        model=build_embedder(source, settings, runtime=runtime),
        settings=settings,
        texts=split(built_in_texts()),
    )
    usual = Recipe(activation_ranges=subject.quantizer.activation_ranges(None, settings.pooling))
    default, _ = most_faithful(subject, usual, strengths=ALPHAS, say=say)
    attempts = {f"defaults: {described(default.recipe)}": default}
    for name, recipe, changed in ways(subject, default.recipe, options):
        say(name)
        with mock.patch("nncf.quantize", changed) if changed else nullcontext():
            attempts[name] = subject.attempt(recipe)
    if "qat" in options.only:
        from intel_quantized_embeddings.quantization.qat import trained  # imports torch

        _, attempts["qat"], _ = trained(subject, default, minutes=QAT_MINUTES, say=say)
    encoders = {"fp32": subject.fp32_encoder(), **{name: subject.encoder(a) for name, a in attempts.items()}}
    data = reduced(read_dataset(SCIFACT), options.others)
    scored = {}
    for name, encoder in encoders.items():
        say(f"scifact: {name}")
        scored[name] = measure(data, encoder)
    speed = throughput(encoders, subject, turns=options.turns)
    print(f"\n{Path(options.model).name}, {len(data.documents)} documents, {len(data.queries)} queries\n")
    print("| way | documents | queries | nDCG@10 | throughput |\n|---|---|---|---|---|")
    usual_speed = next(iter(attempts))
    for name, measured in scored.items():
        documents, queries = (cosines(scored["fp32"], measured, kind) for kind in ("documents", "queries"))
        ratio = statistics.median(a / b for a, b in zip(speed[usual_speed], speed[name], strict=True))
        print(f"| {name} | {documents} | {queries} | {measured.main:.4f} | {ratio:.2f} |")


def ways(subject, default, options):
    """Each way's name, its recipe, and what stands for `nncf.quantize`, where options have no name for it."""
    if "smoothquant" in options.only:
        yield "SmoothQuant off", replace(default, alpha=None), None
    if "ranges" in options.only:
        other = next(ranges for ranges in ActivationRanges if ranges is not default.activation_ranges)
        yield f"ranges {other.value}", replace(default, activation_ranges=other), None
    if "symmetric" in options.only:
        yield "symmetric activations", default, partial(nncf.quantize, preset=nncf.QuantizationPreset.PERFORMANCE)
    if "bias" in options.only:
        yield "bias correction", default, with_bias_correction(nncf.quantize)
    if "layers" in options.only:
        layers = subject.quantizer.linear_layers(subject.model)
        ranked = by_sensitivity(subject, default, layers, say=say)
        for count in options.layers:
            put_back = [layer for layer in layers if layer in ranked[:count]]
            name = f"in floating point: {', '.join(put_back)}"
            yield name, replace(default, floating_point_layers=tuple(put_back)), None
    if "dynamic" in options.only:
        yield "dynamic", Recipe(method=MethodName.DYNAMIC), None


def with_bias_correction(quantize):
    def run(*arguments, advanced_parameters, **others):
        changed = replace(advanced_parameters, disable_bias_correction=False)
        return quantize(*arguments, advanced_parameters=changed, **others)

    return run


def described(recipe):
    return f"SmoothQuant {recipe.alpha}, ranges {recipe.activation_ranges.value}"


def reduced(data, others):
    """All documents that answer a query, and the first so many that don't."""
    needed = {document for answers in data.relevant.values() for document in answers}
    kept = needed.union([document for document in data.documents if document not in needed][:others])
    return replace(data, documents={id_: text for id_, text in data.documents.items() if id_ in kept})


def cosines(fp32, measured, kind):
    summary = summarize_cosines(fp32.vectors[kind], measured.vectors[kind])
    return f"{summary.mean:.4f} / {summary.percentile_1:.4f} / {summary.worst:.4f}"


def throughput(encoders, subject, *, turns):
    """Seconds of each turn; the first warms up."""
    held_out = subject.texts.held_out
    seconds = {name: [] for name in encoders}
    for turn in range(turns + 1):
        for name in sorted(encoders, reverse=turn % 2 == 1):
            started = time.perf_counter()
            encoders[name].encode_documents(held_out.documents)
            encoders[name].encode_queries(held_out.queries)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def say(line):
    print(line, flush=True)


if __name__ == "__main__":
    main()
