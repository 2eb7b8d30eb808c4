"""Import OpenVINO, with an error of ours where it is not installed."""

from __future__ import annotations

from intel_quantized_embeddings.errors import needs
from intel_quantized_embeddings.process.forks import importing


def import_openvino() -> None:
    """Import OpenVINO.

    Raises:
        MissingExtraError: It is not installed.
        ForkedProcessError: Another thread was importing it when this process was forked.
    """
    with needs("openvino", extra="openvino", needed_for="runtime='openvino'"), importing():
        import openvino  # noqa: F401
