"""The jobs of the `iqe` commands; each imports what it needs."""

from __future__ import annotations

import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.cli.options import HUB, given, load_keywords

if TYPE_CHECKING:
    from intel_quantized_embeddings.benchmarks.systems import System


# Options of `iqe quantize` that cross-encoders don't have, and those of them that sparse models have.
_OF_EMBEDDERS = ("pooling", "query_instruction", "document_instruction", "qat_minutes", "max_drop", "dataset")
_INSTRUCTIONS = ("query_instruction", "document_instruction")


def run_quantize(options: Namespace) -> None:
    """`iqe quantize`, for models of any kind."""
    from intel_quantized_embeddings.files.atomic import refuse_existing
    from intel_quantized_embeddings.models.hub import find_model
    from intel_quantized_embeddings.options import RuntimeName
    from intel_quantized_embeddings.quantization.calibration import read_texts
    from intel_quantized_embeddings.quantization.quantize import quantize, quantize_cross_encoder, quantize_sparse
    from intel_quantized_embeddings.quantization.report import Report
    from intel_quantized_embeddings.quantization.settling import settle_config

    how: dict[str, Any] = {name: getattr(options, name) for name in ("method", "weight_bits", "config")}
    how |= {"search": not options.no_search, "measure": not options.no_measure}
    # Check the options first: finding out the model's kind downloads it.
    if options.runtime is not None:
        RuntimeName.parse(options.runtime)
    settle_config(how.pop("config"), **how, qat_minutes=options.qat_minutes, max_drop=options.max_drop)
    refuse_existing(Path(options.output).expanduser().resolve(), overwrite=options.overwrite)
    source = find_model(options.model, **_where(options))
    how |= {name: getattr(options, name) for name in ("config", "runtime", "overwrite", "max_length")}
    how |= _where(options) | {
        "calibration_texts": options.calibration and read_texts(options.calibration),
        "calibration_queries": options.calibration_queries and read_texts(options.calibration_queries),
        "progress": _say_on_terminal if sys.stderr.isatty() else None,
    }
    of_embedders = {name: getattr(options, name) for name in _OF_EMBEDDERS}
    report: Report
    if source.is_cross_encoder:
        _refuse(of_embedders, f"{options.model} is a cross-encoder, which scores pairs of texts")
        scored = report = quantize_cross_encoder(options.model, options.output, **how)
        measured = [f"scores beside fp32: {scored.fidelity or 'not measured'}"]
    elif source.is_sparse and options.pooling is None:
        instructions = {name: of_embedders.pop(name) for name in _INSTRUCTIONS}
        _refuse(of_embedders, f"{options.model} is a sparse model")
        sparse = report = quantize_sparse(options.model, options.output, **how, **instructions)
        measured = ["sparse vectors beside fp32: not measured"]
        if sparse.fidelity is not None:
            queries = sparse.fidelity.queries or "looked up in a table, as before"
            measured = [
                f"sparse vectors beside fp32, documents: {sparse.fidelity.documents}",
                f"sparse vectors beside fp32, queries:   {queries}",
            ]
    else:
        embedded = report = quantize(options.model, options.output, **how, **of_embedders)
        measured = ["cosine to fp32: not measured"]
        if (fidelity := embedded.fidelity) is not None:
            measured = [
                f"cosine to fp32, documents: {fidelity.documents}",
                f"cosine to fp32, queries:   {fidelity.queries}",
            ]
    print(f"{report.folder}: {report.bytes_before / 1e6:.1f} MB -> {report.bytes_after / 1e6:.1f} MB")
    chosen = [f"{report.method} int8, the better of two by {report.choice}"] if report.choice else []
    print("\n".join([*measured, *chosen, *([str(report.drop)] if report.drop else [])]))


def _refuse(of_embedders: Mapping[str, object], why: str) -> None:
    """Refuse options that only embedding models have, where they are given."""
    from intel_quantized_embeddings.errors import OptionError

    for name, value in of_embedders.items():
        if value is not None:
            raise OptionError(f"--{name.replace('_', '-')} is for models that make embeddings; {why}.")


def run_export(options: Namespace) -> None:
    """`iqe export`."""
    from intel_quantized_embeddings.models.export import export

    print(export(options.model, options.output, overwrite=options.overwrite, **_where(options)))


def run_info(options: Namespace) -> None:
    """Run `iqe info`; a reason why the folder can't be loaded is raised after the output."""
    from intel_quantized_embeddings.cli.inspection import inspect_folder

    found = inspect_folder(options.model)
    print(found.json if options.json else found.text)
    if found.problem is not None:
        raise found.problem


def run_doctor(options: Namespace) -> int:
    """Run `iqe doctor`; return 1 if something is wrong."""
    from intel_quantized_embeddings.cli.doctor import diagnose

    found = diagnose(self_test=not options.no_self_test)
    print(found.json if options.json else found.text)
    return 0 if found.well else 1


def run_models(options: Namespace) -> None:
    """`iqe models`."""
    from intel_quantized_embeddings.cli.catalogue import catalogue_json, catalogue_text

    print(catalogue_json() if options.json else catalogue_text())


def run_serve(options: Namespace) -> None:
    """`iqe serve`."""
    from intel_quantized_embeddings.options import LoadOptions
    from intel_quantized_embeddings.serving.limits import Limits, Residency
    from intel_quantized_embeddings.serving.run import serve
    from intel_quantized_embeddings.serving.tei_requests import Defaults

    said = given(options, "names", "host", "port", "api_keys", "log_requests")
    keys = os.environ.get("IQE_API_KEY")
    if keys is not None:
        said = {"api_keys": keys.split() or [keys]} | said  # an empty one is refused: it protects nothing
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(
        [LoadOptions(model=model, **load_keywords(options)) for model in options.models],
        limits=Limits(**given(options, *(field.name for field in fields(Limits)))),
        residency=Residency(**given(options, *(field.name for field in fields(Residency)))),
        tei_defaults=Defaults(**given(options, *(field.name for field in fields(Defaults)))),
        **said,
    )


def run_evaluate(options: Namespace) -> None:
    """`iqe evaluate`."""
    from intel_quantized_embeddings.evaluation.options import Options
    from intel_quantized_embeddings.evaluation.run import evaluate
    from intel_quantized_embeddings.evaluation.tables import table

    results = evaluate(Options(**_all_given(options)), command=["iqe", *options.arguments], progress=_say_on_terminal)
    print(table(results), end="")


def run_compare(options: Namespace) -> None:
    """`iqe compare`."""
    from intel_quantized_embeddings.comparing.results import table
    from intel_quantized_embeddings.comparing.run import Options, compare

    asked = _all_given(options)
    as_json = asked.pop("json", False)
    results = compare(Options(**asked), command=["iqe", *options.arguments])
    print(json.dumps(results.as_json(), indent=2) if as_json else table(results).rstrip())


def run_push(options: Namespace) -> None:
    """`iqe push`."""
    from intel_quantized_embeddings.int8_folder.push import push_to_hub

    taken = {"revision": options.revision, "private": options.private, "commit_message": options.message}
    print(push_to_hub(options.folder, options.repo_id, **taken))


def run_benchmark(
    options: Namespace, *, systems: Sequence[System] | None = None, command: Sequence[str] | None = None
) -> None:
    """`iqe benchmark`; `python -m bench` in the repository has more systems."""
    from intel_quantized_embeddings.benchmarks.options import Options
    from intel_quantized_embeddings.benchmarks.progress import Progress
    from intel_quantized_embeddings.benchmarks.run import benchmark
    from intel_quantized_embeddings.benchmarks.systems import SYSTEMS
    from intel_quantized_embeddings.benchmarks.tables import table

    results = benchmark(
        Options(**_all_given(options)),
        command=command or ["iqe", *options.arguments],
        progress=Progress(),
        systems=systems or SYSTEMS,
    )
    print(table(results), end="")


def _all_given(options: Namespace) -> dict[str, Any]:
    """Return all options that were given, lists as tuples."""
    names = vars(options).keys() - {"run", "arguments"}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given(options, *names).items()}


def _where(options: Namespace) -> dict[str, Any]:
    """Return the options on the place of a model's files."""
    return {name: getattr(options, name) for name in HUB}


def _say_on_terminal(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
