"""What each `iqe` command does with its options; each job imports what it needs."""

from __future__ import annotations

import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intel_quantized_embeddings.cli.options import given, load_keywords

if TYPE_CHECKING:
    from intel_quantized_embeddings.benchmarks.systems import System


def run_quantize(options: Namespace) -> None:
    """`iqe quantize`, for models of either kind."""
    from intel_quantized_embeddings.files.atomic import refuse_existing
    from intel_quantized_embeddings.models.hub import find_model
    from intel_quantized_embeddings.options import RuntimeName
    from intel_quantized_embeddings.quantization.quantize import quantize
    from intel_quantized_embeddings.quantization.settling import settle_config

    # The model is downloaded to see of which kind it is: mistakes are told before.
    if options.runtime is not None:
        RuntimeName.parse(options.runtime)
    settle_config(
        options.config,
        method=options.method,
        qat_minutes=options.qat_minutes,
        weight_bits=options.weight_bits,
        search=not options.no_search,
        measure=not options.no_measure,
        max_drop=options.max_drop,
    )
    refuse_existing(Path(options.output).expanduser().resolve(), overwrite=options.overwrite)
    source = find_model(
        options.model,
        revision=options.revision,
        cache_folder=options.cache_folder,
        local_files_only=options.local_files_only,
    )
    if source.is_cross_encoder:
        _quantize_cross_encoder(options)
        return
    report = quantize(
        options.model,
        options.output,
        **_how_to_quantize(options),
        runtime=options.runtime,
        qat_minutes=options.qat_minutes,
        max_drop=options.max_drop,
        dataset=options.dataset,
        pooling=options.pooling,
        query_instruction=options.query_instruction,
        document_instruction=options.document_instruction,
    )
    print(f"{report.folder}: {report.bytes_before / 1e6:.1f} MB -> {report.bytes_after / 1e6:.1f} MB")
    if report.fidelity is None:
        print("cosine to fp32: not measured")
    else:
        print(f"cosine to fp32, documents: {report.fidelity.documents}")
        print(f"cosine to fp32, queries:   {report.fidelity.queries}")
    if report.drop is not None:
        print(report.drop)


def _quantize_cross_encoder(options: Namespace) -> None:
    from intel_quantized_embeddings.errors import OptionError
    from intel_quantized_embeddings.options import RuntimeName
    from intel_quantized_embeddings.quantization.quantize import quantize_cross_encoder
    from intel_quantized_embeddings.runtimes.building import require_scoring

    if options.runtime is not None:
        require_scoring(RuntimeName.parse(options.runtime))
    for name in ("pooling", "query_instruction", "document_instruction", "qat_minutes", "max_drop", "dataset"):
        if getattr(options, name) is not None:
            raise OptionError(
                f"--{name.replace('_', '-')} is for models that make embeddings; {options.model} is a cross-encoder, "
                f"which scores pairs of texts."
            )
    report = quantize_cross_encoder(options.model, options.output, runtime=options.runtime, **_how_to_quantize(options))
    print(f"{report.folder}: {report.bytes_before / 1e6:.1f} MB -> {report.bytes_after / 1e6:.1f} MB")
    print(f"scores beside fp32: {report.fidelity or 'not measured'}")


def _how_to_quantize(options: Namespace) -> dict[str, Any]:
    """Return the options that models of either kind take."""
    from intel_quantized_embeddings.quantization.calibration import read_texts

    return {
        "calibration_texts": options.calibration and read_texts(options.calibration),
        "calibration_queries": options.calibration_queries and read_texts(options.calibration_queries),
        "search": not options.no_search,
        "measure": not options.no_measure,
        "method": options.method,
        "weight_bits": options.weight_bits,
        "config": options.config,
        "overwrite": options.overwrite,
        "revision": options.revision,
        "cache_folder": options.cache_folder,
        "local_files_only": options.local_files_only,
        "max_length": options.max_length,
        "progress": _say_on_terminal if sys.stderr.isatty() else None,
    }


def run_export(options: Namespace) -> None:
    """`iqe export`."""
    from intel_quantized_embeddings.models.export import export

    folder = export(
        options.model,
        options.output,
        overwrite=options.overwrite,
        revision=options.revision,
        cache_folder=options.cache_folder,
        local_files_only=options.local_files_only,
    )
    print(folder)


def run_info(options: Namespace) -> None:
    """`iqe info`; what keeps the folder from loading is raised after it was shown."""
    from intel_quantized_embeddings.cli.inspection import inspect_folder

    found = inspect_folder(options.model)
    print(found.json if options.json else found.text)
    if found.problem is not None:
        raise found.problem


def run_doctor(options: Namespace) -> int:
    """`iqe doctor`; returns 1 where something is wrong."""
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
    from intel_quantized_embeddings.serving.limits import Limits
    from intel_quantized_embeddings.serving.run import serve

    address = {"api_key": os.environ.get("IQE_API_KEY"), **given(options, "name", "host", "port", "api_key")}
    limits = given(options, *(field.name for field in fields(Limits)))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(LoadOptions(model=options.model, **load_keywords(options)), limits=Limits(**limits), **address)


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
    print(json.dumps(results.as_json(), indent=2, ensure_ascii=False) if as_json else table(results).rstrip())


def run_push(options: Namespace) -> None:
    """`iqe push`."""
    from intel_quantized_embeddings.int8_folder.push import push_to_hub

    commit = push_to_hub(
        options.folder,
        options.repo_id,
        revision=options.revision,
        private=options.private,
        commit_message=options.message,
    )
    print(commit)


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
    """All options that were given, lists as tuples."""
    names = vars(options).keys() - {"run", "arguments"}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given(options, *names).items()}


def _say_on_terminal(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
