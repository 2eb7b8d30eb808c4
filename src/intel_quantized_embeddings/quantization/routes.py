"""Quantize a Router: an int8 folder for each route, and the Router's own files, which name the routes' folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.files.json_files import write_json
from intel_quantized_embeddings.int8_folder.fidelity import Fidelity
from intel_quantized_embeddings.models.routes import CONFIG_FILE, DOCUMENT, OWN_CONFIG_FILE, QUERY, Routes
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.static import refuse_static
from intel_quantized_embeddings.quantization.report import QuantizationReport, Report

_TYPE = "sentence_transformers.base.modules"


def quantize_routes(
    source: SourceModel,
    routes: Routes,
    output: Path,
    quantize_one: Callable[[SourceModel, Path], Report],
    *,
    overwrite: bool,
    max_drop: float | None,
) -> QuantizationReport:
    """Quantize both models of a Router, each with `quantize_one`, into a folder that appears whole or not at all.

    A limit (`max_drop`), which would hold for both together, is an OptionError. The report has the fidelity of
    documents of the documents' model, that of queries of the queries', and sizes and time of both.
    """
    if max_drop is not None:
        raise OptionError(
            f"max_drop={max_drop} is not available for {source.name}, a Router: what two models lose together is "
            f"measured of none of them. Leave it out."
        )
    parts = {QUERY: source.route(routes.query), DOCUMENT: source.route(routes.document)}
    for part in parts.values():
        if part.static is not None:
            raise refuse_static(
                part.name,
                what="in which there is nothing to quantize; load the Router as it is, and "
                "its other model is quantized while it is read",
            )
    with atomic_folder(output, overwrite=overwrite) as folder:
        reports = {name: quantize_one(part, folder / name) for name, part in parts.items()}
        write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": f"{_TYPE}.router.Router"}])
        write_json(
            folder / CONFIG_FILE,
            {
                "types": dict.fromkeys(parts, f"{_TYPE}.transformer.Transformer"),
                "structure": {name: [name] for name in parts},
                "parameters": {"default_route": routes.default},
            },
        )
        if (source.path / OWN_CONFIG_FILE).is_file():
            shutil.copyfile(source.path / OWN_CONFIG_FILE, folder / OWN_CONFIG_FILE)
    query, document = reports[QUERY], reports[DOCUMENT]
    assert isinstance(query, QuantizationReport)  # both embed
    assert isinstance(document, QuantizationReport)
    fidelity = None
    if query.fidelity is not None and document.fidelity is not None:
        fidelity = Fidelity(documents=document.fidelity.documents, queries=query.fidelity.queries)
    return replace(
        document,
        folder=output,
        fidelity=fidelity,
        method=", ".join(dict.fromkeys((query.method, document.method))),
        choice="; ".join(f"{name}: {one.choice}" for name, one in reports.items() if one.choice) or None,
        floating_point_layers=tuple(
            f"{name}: {layer}" for name, report in reports.items() for layer in report.floating_point_layers
        ),
        seconds=query.seconds + document.seconds,
        bytes_before=query.bytes_before + document.bytes_before,
        bytes_after=query.bytes_after + document.bytes_after,
    )
