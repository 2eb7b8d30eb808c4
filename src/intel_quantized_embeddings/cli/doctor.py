"""`iqe doctor`: facts that a report of a fault should begin with."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.cli.self_test import SelfTest, run_self_test
from intel_quantized_embeddings.errors import ModelFilesError, QuantizedEmbeddingsError, one_line
from intel_quantized_embeddings.models.hub import find_model
from intel_quantized_embeddings.models.source import MANIFEST_FILE
from intel_quantized_embeddings.options import DEFAULT_MODEL
from intel_quantized_embeddings.process.cores import granted_cores
from intel_quantized_embeddings.quantization.cache import cache_root
from intel_quantized_embeddings.reporting.machine import Machine, describe_machine, library_versions, without_paths
from intel_quantized_embeddings.reporting.terminal import labelled, megabytes
from intel_quantized_embeddings.runtimes.native_library import ISA_VARIABLE, chosen_instruction_set, instruction_sets
from intel_quantized_embeddings.version import __version__

_HUB_SECONDS = 5
# Variables that change results; tokens, and addresses that may hold one, are not among them.
_VARIABLES = (ISA_VARIABLE, "ONEDNN_MAX_CPU_ISA", "RAYON_NUM_THREADS", "TOKENIZERS_PARALLELISM")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The findings, without the machine's name and with no path outside the home folder.

    Attributes:
        machine: The kind of CPU, its cores and those granted to this process.
        cores: The number of threads that a call has by default.
        instruction_set: The engine's instruction set; None without an engine.
        instruction_sets: All instruction sets that this CPU runs.
        engine: The reason why the engine can't be used; None if it can.
        libraries: Versions of the installed libraries.
        environment: Variables that are set and change results.
        cache: The folder of models quantized on first use, for other runtimes than the engine.
        cached: Their names and bytes.
        hub: The hub's address, and "reachable" or the reason why not.
        default_model: The place of the default model, or that it is not on this machine.
        self_test: The self-test; None if it was left out, or without an engine.
    """

    machine: Machine
    cores: int
    instruction_set: str | None
    instruction_sets: tuple[str, ...]
    engine: str | None
    libraries: dict[str, str]
    environment: dict[str, str]
    cache: str
    cached: dict[str, int]
    hub: str
    default_model: str
    self_test: SelfTest | None

    @property
    def well(self) -> bool:
        """Whether the engine is there and gives the stored bits."""
        return self.engine is None and (self.self_test is None or self.self_test.passed)

    @property
    def json(self) -> str:
        """Return the findings for scripts."""
        facts: dict[str, Any] = {"well": self.well, **dataclasses.asdict(self)}
        return json.dumps(facts, indent=2)

    @property
    def text(self) -> str:
        """Return the findings for people."""
        machine, test = self.machine, self.self_test
        others = [name for name in self.instruction_sets if name != self.instruction_set]
        quota = "no CPU quota" if machine.quota_cores is None else f"a CPU quota of {machine.quota_cores:g}"
        versions = [f"{name} {number}" for name, number in self.libraries.items()]
        cached = [f"{name}, {megabytes(size)}" for name, size in self.cached.items()]
        facts = {
            "package": [f"{__version__}, {machine.python}, {machine.system}"],
            "CPU": [f"{machine.cpu}: {' '.join(machine.flags) or 'no instructions known here'}"],
            "engine": [self.engine or f"{self.instruction_set}{_also(others)}"],
            "cores": [f"{self.cores} for a call: {machine.allowed_cores} of {machine.cores} by affinity, {quota}"],
            "libraries": [", ".join(versions)],
            "environment": [f"{name}={value}" for name, value in self.environment.items()],
            "cache": [f"{self.cache}: {len(cached) or 'no'} int8 model{'s' * (len(cached) != 1)}", *cached],
            "hub": [self.hub],
            "default model": [self.default_model],
            "self-test": _tested(test) if test else ["left out"],
        }
        return "\n".join(labelled(facts))


def diagnose(*, self_test: bool = True) -> Diagnosis:
    """Examine this installation.

    Args:
        self_test: Whether to run the engine, for about ten seconds.
    """
    used: str | None = None
    all_sets: tuple[str, ...] = ()
    engine = tested = None
    try:
        all_sets, used = instruction_sets(), chosen_instruction_set()
        tested = run_self_test() if self_test else None
    except QuantizedEmbeddingsError as exc:
        engine = one_line(exc)
    folder = cache_root(None)
    return Diagnosis(
        machine=describe_machine(),
        cores=granted_cores(),
        instruction_set=used,
        instruction_sets=all_sets,
        engine=engine,
        libraries=library_versions(),
        environment={name: os.environ[name] for name in (*_VARIABLES, *_OFFLINE) if os.environ.get(name)},
        cache=_from_home(folder),
        cached=_cached(folder),
        hub=_hub(),
        default_model=_default_model(),
        self_test=tested,
    )


def _tested(test: SelfTest) -> list[str]:
    wrong = [name for name, right in test.bits.items() if not right]
    bits = f"NOT the stored bits with {', '.join(wrong)}" if wrong else f"the stored bits with {', '.join(test.bits)}"
    return [
        bits,
        f"MiniLM's shape, {test.threads} threads: {test.query_ms:.2f} ms a query of 12 tokens, "
        f"{test.texts_per_second:.0f} texts/s of 90 tokens",
    ]


def _also(others: list[str]) -> str:
    return f"; this CPU also runs {', '.join(others)}" if others else ""


def _from_home(folder: Path) -> str:
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else without_paths(str(folder))


def _cached(root: Path) -> dict[str, int]:
    """Return the int8 folders of the cache and their bytes; none if it can't be read."""
    try:
        folders = sorted(folder for folder in root.iterdir() if (folder / MANIFEST_FILE).is_file())
        return {
            folder.name: sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders
        }
    except OSError:
        return {}


def _hub() -> str:
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    shown = _without_user(address)
    offline = next((name for name in _OFFLINE if os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON")), None)
    if offline:
        return f"{shown}: not asked, since {offline} is set"
    started = time.perf_counter()
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=_HUB_SECONDS):
            pass
    except urllib.error.HTTPError:
        pass  # the hub answers
    except (OSError, ValueError, HTTPException) as exc:
        reason = one_line(getattr(exc, "reason", exc)).replace(address, shown)
        return f"{shown}: not reachable ({without_paths(reason)})"
    return f"{shown}: reachable, in {time.perf_counter() - started:.1f} s"


def _without_user(address: str) -> str:
    """Return an address without the name and password that it may hold."""
    before, found, place = address.rpartition("@")
    return f"{before.partition('://')[0]}://{place}" if found and "://" in before else place


def _default_model() -> str:
    try:
        source = find_model(DEFAULT_MODEL, local_files_only=True)
    except ModelFilesError:
        return f"{DEFAULT_MODEL}: not on this machine; it is downloaded on first use"
    except QuantizedEmbeddingsError as exc:
        return f"{DEFAULT_MODEL}: {without_paths(one_line(exc))}"
    return f"{DEFAULT_MODEL}: on this machine, revision {source.revision}"
