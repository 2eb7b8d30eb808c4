"""Describe the machine that figures were measured on, without anything that tells it from another of its kind."""

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

# What decides how fast int8 and bf16 are.
FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
# What figures depend on: what runs a model, what makes its int8 form, what it is compared with, what scores it.
LIBRARIES = (
    *("intel-quantized-embeddings", "openvino", "tokenizers", "safetensors", "numpy"),
    *("torch", "intel-extension-for-pytorch", "huggingface-hub"),
    *("nncf", "neural-compressor-pt"),
    *("transformers", "sentence-transformers", "optimum-intel", "openvino-genai", "openvino-tokenizers", "fastembed"),
    *("onnxruntime", "langchain-core", "langchain-huggingface"),
    *("scipy", "scikit-learn", "pytrec-eval-terrier", "bm25s"),
)

# An absolute path; what is kept of it is its last part. Not the `//` of an address nor what follows it. Backslashes
# come doubled in Python's messages.
_PATH = re.compile(r"(?<![\w./])(?:~|[A-Za-z]:)?(?:(?:/|\\+)[\w.+@ -]*[\w.+@-])+")
_FILE_ADDRESS = re.compile(r"file://(?:localhost(?=/))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A kind of machine.

    Attributes:
        cpu: What the CPU calls itself.
        cores: Logical cores there are.
        allowed_cores: Those this process may run on.
        threads_per_core: 2 where two logical cores share a physical one; None if unknown.
        quota_cores: The container's limit in cores; None without one.
        flags: Those of `FLAGS` that the CPU has.
        governor: How its clock is governed; None if unreadable.
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


def describe_machine() -> Machine:
    """Look at this machine; what can't be read is left out."""
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
    """Versions of the distributions that are installed."""
    versions = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def busy_cores(seconds: float = 0.5) -> float | None:
    """Cores that are at work now. Asked while nothing of this run is, it tells what other programs take."""
    before = _read(Path("/proc/stat"))
    time.sleep(seconds)
    return parse_busy(before, _read(Path("/proc/stat")), cores=os.cpu_count() or 1)


def parse_busy(before: str | None, after: str | None, *, cores: int) -> float | None:
    """Cores at work between two readings of `/proc/stat`; None where there are none."""
    readings = [[int(field) for field in (text or "").split("\n", 1)[0].split()[1:9]] for text in (before, after)]
    if any(len(reading) < 5 for reading in readings):
        return None
    passed: list[int] = [late - early for early, late in zip(*readings, strict=True)]
    if sum(passed) <= 0:
        return None
    waiting = passed[3] + passed[4]  # idle, and idle for want of a disk
    return round(cores * (1 - waiting / sum(passed)), 2)


def parse_cpuinfo(content: str) -> dict[str, str]:
    """The fields of the first processor in `/proc/cpuinfo`."""
    first = content.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, found, value in pairs if found}


def threads_per_core(fields: dict[str, str]) -> int | None:
    """Logical cores a physical one, from the fields of `/proc/cpuinfo`."""
    siblings, cores = fields.get("siblings", ""), fields.get("cpu cores", "")
    if not (siblings.isdecimal() and cores.isdecimal() and int(cores)):
        return None
    return max(1, int(siblings) // int(cores))


def without_paths(text: str) -> str:
    """The text without the host's name and with absolute paths cut to their last part, to be shown to others."""
    text = _FILE_ADDRESS.sub("", text)
    # These first, as their names may have characters at which a path seems to end.
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
    """A command line as it is recorded: files and folders by their last part alone."""

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
