"""What an installed distribution must do, run outside the checkout: python smoke.py, with tests/ in PYTHONPATH."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

import intel_quantized_embeddings
from intel_quantized_embeddings import Encoder, quantize
from support.tiny_models import write_tiny_model


def main() -> None:
    assert "site-packages" in intel_quantized_embeddings.__file__, intel_quantized_embeddings.__file__
    files = [str(file) for file in distribution("intel-quantized-embeddings").files or []]
    assert any(file.endswith("licenses/LICENSE") for file in files), "no licence"
    assert any(file.endswith("py.typed") for file in files), "no types"
    library = next(file for file in distribution("intel-quantized-embeddings").files or [] if file.name == "libiqe.so")
    assert ctypes.CDLL(str(library.locate())).iqe_abi() >= 1, library
    said = subprocess.run(
        [Path(sys.executable).with_name("iqe"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "quantize" in said, said
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(Path(folder) / "tiny")
        quantize(model, Path(folder) / "int8", search=False)
        vectors = Encoder.load(Path(folder) / "int8").encode_documents(["the cat", ""])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5), vectors
    print("installed, quantized and encoded")


if __name__ == "__main__":
    main()
