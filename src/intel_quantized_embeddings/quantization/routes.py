"""Quantize a Router: an int8 folder for each route, and the Router's own files, which name the routes' folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError, UnsupportedModelError
from intel_quantized_embeddings.files.atomic import atomic_folder
from intel_quantized_embeddings.files.json_files import write_json
from intel_quantized_embeddings.int8_folder.fidelity import Fidelity, ScoreFidelity, SparseFidelity
from intel_quantized_embeddings.models.routes import CONFIG_FILE, DOCUMENT, OWN_CONFIG_FILE, QUERY, Routes
from intel_quantized_embeddings.models.source import SourceModel
from intel_quantized_embeddings.models.static import refuse_static
from intel_quantized_embeddings.models.weight_table import MODULE as TABLE
from intel_quantized_embeddings.models.weight_table import copy_weight_table
from intel_quantized_embeddings.quantization.report import Report

_TYPE = "sentence_transformers.base.modules"
_TABLE_TYPE = f"sentence_transformers.sparse_encoder.modules.sparse_static_embedding.{TABLE}"


def quantize_routes(
    source: SourceModel,
    routes: Routes,
    output: Path,
    quantize_one: Callable[[SourceModel, Path], Report],
    *,
    overwrite: bool,
    max_drop: float | None,
) -> Report:
    """Quantize both models of a Router, each with `quantize_one`, into a folder that appears whole or not at all.

    A table of tokens' weights is copied. A limit (`max_drop`), which would hold for both together, is an OptionError.
    The report has the fidelity of documents of the documents' model, that of queries of the queries', None for a table,
    and sizes and time of both.
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
    if parts[DOCUMENT].weight_table is not None:
        raise UnsupportedModelError(
            f"{source.name} looks documents up in a table of tokens' weights, in which there is nothing to quantize; "
            f"load the Router as it is."
        )
    with atomic_folder(output, overwrite=overwrite) as folder:
        reports = {}
        for name, part in parts.items():
            if part.weight_table is not None:
                copy_weight_table(part.weight_table, folder / name)
            else:
                reports[name] = quantize_one(part, folder / name)
        write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": f"{_TYPE}.router.Router"}])
        write_json(
            folder / CONFIG_FILE,
            {
                "types": {
                    name: f"{_TYPE}.transformer.Transformer" if name in reports else _TABLE_TYPE for name in parts
                },
                "structure": {name: [name] for name in parts},
                "parameters": {"default_route": routes.default},
            },
        )
        if (source.path / OWN_CONFIG_FILE).is_file():
            shutil.copyfile(source.path / OWN_CONFIG_FILE, folder / OWN_CONFIG_FILE)
        copied = sum(
            file.stat().st_size for part in parts.values() if part.weight_table for file in part.weight_files[:1]
        )
    return _together(output, reports, copied=copied)


def _together(output: Path, reports: dict[str, Report], *, copied: int) -> Report:
    """Return the report on a Router's models; `copied` is the size of a table of weights, which stays as it is."""
    document, each = reports[DOCUMENT], reports.values()
    fidelity = None
    if all(report.fidelity is not None for report in each):
        fidelity = _fidelity(document.fidelity, reports[QUERY].fidelity if QUERY in reports else None)
    return replace(
        document,
        folder=output,
        fidelity=fidelity,
        method=", ".join(dict.fromkeys(report.method for report in each)),
        choice="; ".join(f"{name}: {one.choice}" for name, one in reports.items() if one.choice) or None,
        floating_point_layers=tuple(
            f"{name}: {layer}" for name, report in reports.items() for layer in report.floating_point_layers
        ),
        seconds=sum(report.seconds for report in each),
        bytes_before=sum(report.bytes_before for report in each) + copied,
        bytes_after=sum(report.bytes_after for report in each) + copied,
    )


def _fidelity(
    document: Fidelity | ScoreFidelity | SparseFidelity | None, query: Fidelity | ScoreFidelity | SparseFidelity | None
) -> Fidelity | SparseFidelity:
    """Return that of documents of one model, and that of queries of the other."""
    if isinstance(document, SparseFidelity):
        assert query is None or isinstance(query, SparseFidelity)  # both are of one kind
        return SparseFidelity(documents=document.documents, queries=None if query is None else query.queries)
    assert isinstance(document, Fidelity)
    assert isinstance(query, Fidelity)
    return Fidelity(documents=document.documents, queries=query.queries)
