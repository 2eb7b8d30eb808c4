"""Import OpenVINO, with this package's error if it is not installed."""

from __future__ import annotations

from intel_quantized_embeddings.errors import needs


def import_openvino() -> None:
    """Import OpenVINO."""
    with needs("openvino", extra="openvino", needed_for="runtime='openvino'"):
        import openvino  # noqa: F401
