"""Describe the kind of machine that figures were measured on, without identifying the machine."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from intel_quantized_embeddings.process.cores import affinity, cpu_quota

# CPU flags that decide the speed of int8 and bf16.
FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
_BEST = (("amx_int8", "AMX"), ("avx512_vnni", "AVX-512-VNNI"), ("avx_vnni", "AVX-VNNI"), ("avx2", "AVX2"))
# Distributions that figures depend on: runtimes, quantizers, libraries compared with, and scorers.
LIBRARIES = (
    *("intel-quantized-embeddings", "openvino", "tokenizers", "safetensors", "numpy"),
    *("torch", "intel-extension-for-pytorch", "huggingface-hub"),
    *("nncf", "neural-compressor-pt"),
    *("transformers", "sentence-transformers", "optimum-intel", "openvino-genai", "openvino-tokenizers", "fastembed"),
    *("llama-cpp-python", "onnxruntime", "langchain-core", "langchain-huggingface"),
    *("scipy", "scikit-learn", "pytrec-eval-terrier", "bm25s"),
)

# An absolute path, of which the last part is kept; not an address behind `//`. Backslashes are doubled in Python's
# messages.
_PATH = re.compile(r"(?<![\w./])(?:~|[A-Za-z]:)?(?:(?:/|\\+)[\w.+@ -]*[\w.+@-])+")
_FILE_ADDRESS = re.compile(r"file://(?:localhost(?=/))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A kind of machine.

    Attributes:
        cpu: The CPU's own name.
        cores: Number of logical cores.
        allowed_cores: Number of logical cores that this process may run on.
        threads_per_core: 2 if two logical cores share a physical one; None if unknown.
        quota_cores: The container's limit in cores; None without one.
        flags: The flags in `FLAGS` that the CPU has.
        governor: The governor of its clock; None if unreadable.
        system: The operating system and its version.
        python: The interpreter and its version.
    """

    cpu: str
    cores: int
    allowed_cores: int
    threads_per_core: int | None
    quota_cores: float | None
    flags: tuple[str, ...]
    governor: str | None
    system: str
    python: str

    @property
    def kind(self) -> str:
        """Return the CPU's name with its best instructions for int8, since makers name very different CPUs alike."""
        best = next((f" ({name})" for flag, name in _BEST if flag in self.flags), "")
        return f"{self.cpu}{best}"


def describe_machine() -> Machine:
    """Describe this machine, without the facts that can't be read."""
    cpuinfo = _read(Path("/proc/cpuinfo")) or ""
    fields = parse_cpuinfo(cpuinfo)
    present = fields.get("flags", "").split()
    release = re.match(r"\d+\.\d+", platform.release())
    return Machine(
        cpu=fields.get("model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        allowed_cores=len(affinity()),
        threads_per_core=threads_per_core(fields),
        quota_cores=cpu_quota(),
        flags=tuple(flag for flag in FLAGS if flag in present),
        governor=(_read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")) or "").strip() or None,
        system=f"{platform.system()} {release[0] if release else ''}".strip(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of the installed distributions."""
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def busy_cores(seconds: float = 0.5) -> float | None:
    """Return the number of cores at work now: those of other programs, if this run is idle."""
    before = _read(Path("/proc/stat"))
    time.sleep(seconds)
    return parse_busy(before, _read(Path("/proc/stat")), cores=os.cpu_count() or 1)


def parse_busy(before: str | None, after: str | None, *, cores: int) -> float | None:
    """Return the cores at work between two readings of `/proc/stat`; None without readings."""
    readings = [[int(field) for field in (text or "").split("\n", 1)[0].split()[1:9]] for text in (before, after)]
    if any(len(reading) < 5 for reading in readings):
        return None
    passed: list[int] = [late - early for early, late in zip(*readings, strict=True)]
    if sum(passed) <= 0:
        return None
    waiting = passed[3] + passed[4]  # idle, and idle while waiting for a disk
    return round(cores * (1 - waiting / sum(passed)), 2)


def parse_cpuinfo(content: str) -> dict[str, str]:
    """Return the fields of the first processor in `/proc/cpuinfo`."""
    first = content.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, found, value in pairs if found}


def threads_per_core(fields: dict[str, str]) -> int | None:
    """Return the logical cores of a physical one, from the fields of `/proc/cpuinfo`."""
    siblings, cores = fields.get("siblings", ""), fields.get("cpu cores", "")
    if not (siblings.isdecimal() and cores.isdecimal() and int(cores)):
        return None
    return max(1, int(siblings) // int(cores))


def without_paths(text: str) -> str:
    """The text without the host's name and with absolute paths cut to their last part, to be shown to others."""
    text = _FILE_ADDRESS.sub("", text)
    # These come first, because their names may have characters at which a path seems to end.
    folders = {str(folder) for folder in (Path.home(), Path.cwd(), Path(sys.prefix)) if len(folder.parts) > 1}
    for folder in sorted(folders, key=len, reverse=True):
        for written in (folder, folder.replace("\\", "\\\\")):
            text = re.sub(rf"{re.escape(written)}(?![\w.-])", "~", text)
    if platform.node():
        text = re.sub(rf"(?<![\w-]){re.escape(platform.node())}(?![\w-])", "host", text)
    return _PATH.sub(lambda found: re.split(r"[/\\]", found[0])[-1], text)


def recorded(command: Sequence[str]) -> dict[str, Any]:
    """Return what every record of a run holds: the time (UTC), the command without paths, machine and libraries."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shown_command(command),
        "machine": describe_machine(),
        "libraries": library_versions(),
    }


def shown_command(arguments: Sequence[str]) -> list[str]:
    """Return a command line for the record: files and folders by their last part alone."""

    def shown(argument: str) -> str:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        path = Path(value).expanduser()
        local = value.startswith(("/", ".", "~")) or ("/" in value and path.exists())
        return f"{option}{equals}{path.resolve().name}" if value and local else argument

    return [shown(argument) for argument in arguments]


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return None
