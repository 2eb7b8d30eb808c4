"""Compiles the native engine into one shared library: python native/build.py [--target NAME] [--output FILE].

The wheel's build (hatch_build.py) and developers (make native) come here. The compiler is the one that CXX names, or
zig from the package ziglang, which compiles for either architecture and an old glibc on machines without a compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = Path("native/src")
WORK = Path("build/native")
IN_PLACE = Path("src/intel_quantized_embeddings/runtimes/libiqe.so")
ZIG_REQUIREMENT = "ziglang>=0.17.1,<0.18"
GLIBC = "2.17"


class BuildError(RuntimeError):
    """The native engine can't be compiled; the message says why and what to do."""


@dataclass(frozen=True)
class InstructionSet:
    """A file of native/src/isa: its name, and its flags in zig's spelling of -march and in that of others."""

    name: str
    zig: str
    others: tuple[str, ...]


# The least comes first. What is common to all instruction sets is compiled for that one. Without fast_dpwssd clang
# makes two instructions of vpdpwssd.
TARGETS: Mapping[str, tuple[InstructionSet, ...]] = {
    "x86_64": (
        InstructionSet("scalar", "x86_64", ("-march=x86-64",)),
        InstructionSet("avx2", "x86_64_v3", ("-march=x86-64-v3",)),
        InstructionSet("avxvnni", "x86_64_v3+avxvnni+fast_dpwssd", ("-march=x86-64-v3", "-mavxvnni")),
        InstructionSet("avx512vnni", "x86_64_v4+avx512vnni+fast_dpwssd", ("-march=x86-64-v4", "-mavx512vnni")),
        InstructionSet(
            "amx",
            "x86_64_v4+avx512vnni+fast_dpwssd+amx_tile+amx_int8",
            ("-march=x86-64-v4", "-mavx512vnni", "-mamx-tile", "-mamx-int8"),
        ),
    ),
    "aarch64": (
        InstructionSet("scalar", "generic", ("-march=armv8-a",)),
        InstructionSet("neon", "generic+dotprod", ("-march=armv8.2-a+dotprod",)),
    ),
}
# Atomics of aarch64 would otherwise be calls into the compiler's own library.
TARGET_FLAGS: Mapping[str, tuple[str, ...]] = {"x86_64": (), "aarch64": ("-mno-outline-atomics",)}
COMPILE_FLAGS = (
    "-std=c++17",
    "-O3",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=off",
    "-fno-sanitize=all",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
)
# Never unloaded: threads of the pool are in its code for as long as the process lives (nodelete).
# No C++ runtime library, and none of the compiler's (zig would first compile either for minutes): a symbol that only
# those have is an error here, not where the library is loaded.
LINK_FLAGS = (
    "-shared",
    "-O3",
    *(f"-Wl,-z,{what}" for what in ("defs", "noexecstack", "relro", "now", "nodelete")),
    "-Wl,--gc-sections",
)
LIBRARIES = ("-lm", "-lpthread", "-lc")


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C++, and whether it is zig, whose flags differ."""

    command: tuple[str, ...]
    is_zig: bool


@dataclass(frozen=True)
class Plan:
    """What is compiled: for which target, by which compiler, and whether profilers find the functions' names."""

    target: str
    compiler: Compiler
    symbols: bool = False


@dataclass(frozen=True)
class Built:
    """A library that is there, how many units were compiled for it, and how many it has."""

    library: Path
    compiled: int
    units: int


def target_of(*, system: str, machine: str, bits: int, glibc: bool) -> str | None:
    """Return the target that a machine runs, or None where the engine does not run."""
    names = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    return names.get(machine.lower()) if system == "Linux" and bits == 64 and glibc else None


def host_target() -> str | None:
    """Return the target that this Python runs on, or None where the engine does not run."""
    try:
        glibc = bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError, OSError):  # musl, or no POSIX
        glibc = False
    bits = 64 if sys.maxsize > 2**32 else 32
    return target_of(system=platform.system(), machine=platform.machine(), bits=bits, glibc=glibc)


def chosen_target(environment: Mapping[str, str], host: str | None) -> str | None:
    """Return the target that IQE_TARGET names ("none": no library), or the host's."""
    named = environment.get("IQE_TARGET", "")
    if named == "none":
        return None
    if named and named not in TARGETS:
        raise BuildError(f"IQE_TARGET is {named!r}; use one of {', '.join(TARGETS)}, none, or leave it unset.")
    return named or host


def chosen_compiler(environment: Mapping[str, str]) -> Compiler:
    """Return the compiler that CXX names, or zig of the package ziglang."""
    command = tuple(shlex.split(environment.get("CXX", "")))
    return Compiler(command or (sys.executable, "-m", "ziglang", "c++"), is_zig=not command)


def requirements(plan: Plan) -> list[str]:
    """Return what must be installed to carry out a plan."""
    return [ZIG_REQUIREMENT] if plan.compiler.is_zig else []


def platform_tag(plan: Plan) -> str:
    """Return the wheel's platform: only zig links against an old glibc wherever it runs."""
    return f"manylinux_{GLIBC.replace('.', '_')}_{plan.target}" if plan.compiler.is_zig else f"linux_{plan.target}"


def units(target: str, root: Path = ROOT) -> list[tuple[Path, InstructionSet]]:
    """Return the sources of a target, relative to the root, each with its instruction set.

    The least demanding come first, since a linker that finds one function in several units takes the first.
    """
    baseline = TARGETS[target][0]
    common = sorted((root / SOURCES).glob("*.cpp"))
    return [(source.relative_to(root), baseline) for source in common] + [
        (SOURCES / "isa" / f"{isa.name}.cpp", isa) for isa in TARGETS[target]
    ]


def compile_command(plan: Plan, source: Path, isa: InstructionSet) -> list[str]:
    """Return the command that compiles a unit, short of `-o OBJECT`."""
    if plan.compiler.is_zig:
        machine: tuple[str, ...] = ("-target", f"{plan.target}-linux-gnu.{GLIBC}", f"-march={isa.zig}")
    else:
        # g++ 12 warns of its own AVX-512 headers, tens of thousands of lines of it.
        machine = (*isa.others, "-Wno-maybe-uninitialized")
    symbols = "-g1" if plan.symbols else "-g0"
    flags = (*COMPILE_FLAGS, symbols, *TARGET_FLAGS[plan.target], *machine)
    return [*plan.compiler.command, *flags, "-c", source.as_posix()]


def link_command(plan: Plan, objects: list[str]) -> list[str]:
    """Return the command that links objects, short of `-o LIBRARY`."""
    if plan.compiler.is_zig:
        runtimes = ["-target", f"{plan.target}-linux-gnu.{GLIBC}", "-nostdlib++", "-rtlib=none"]
    else:
        runtimes = ["-nodefaultlibs"]
    stripped = [] if plan.symbols else ["-s"]
    soname = f"-Wl,-soname,{IN_PLACE.name}"
    return [*plan.compiler.command, *runtimes, *LINK_FLAGS, soname, *stripped, *objects, *LIBRARIES]


def _version(compiler: Compiler) -> str:
    """Return what tells one compiler from another; zig's is the requirement, which is known before it is installed."""
    return ZIG_REQUIREMENT if compiler.is_zig else _run([*compiler.command, "--version"], ROOT, {})


def _keys(plan: Plan, root: Path) -> dict[Path, str]:
    """Return a hash of all that an object depends on, for the source of every unit."""
    common = hashlib.sha256(_version(plan.compiler).encode())
    for header in sorted((root / SOURCES).rglob("*.h")):
        common.update(header.relative_to(root).as_posix().encode() + b"\0" + header.read_bytes())
    keys = {}
    for source, isa in units(plan.target, root):
        if not (root / source).is_file():
            raise BuildError(f"{source} is missing; a row of TARGETS in native/build.py names it.")
        own = common.copy()
        own.update("\0".join(compile_command(plan, source, isa)).encode() + (root / source).read_bytes())
        keys[source] = own.hexdigest()[:16]
    return keys


def _library(plan: Plan, keys: Mapping[Path, str], folder: Path) -> Path:
    """Return the path of the library that objects with these keys make."""
    told = "\0".join([*link_command(plan, []), *keys.values()])
    return folder / f"{IN_PLACE.stem}-{hashlib.sha256(told.encode()).hexdigest()[:16]}.so"


def is_current(plan: Plan, *, root: Path = ROOT, work: Path | None = None) -> bool:
    """Return whether building would find its library already there."""
    return _library(plan, _keys(plan, root), (work or root / WORK) / plan.target).is_file()


def build(plan: Plan, *, root: Path = ROOT, work: Path | None = None) -> Built:
    """Compile what has changed, side by side, link it, and return the library, which lies in the work folder."""
    work = work or root / WORK
    folder = work / plan.target
    keys = _keys(plan, root)
    objects = {source: folder / f"{source.stem}-{key}.o" for source, key in keys.items()}
    library = _library(plan, keys, folder)
    if library.is_file():
        return Built(library, compiled=0, units=len(keys))
    _check(plan.compiler)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):  # which another may just have built; then all that is missing here is there
        missing = [(source, isa) for source, isa in units(plan.target, root) if not objects[source].is_file()]
        # Its caches would otherwise go under HOME, which need not be there.
        caches = {name: str(work / "zig-cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}

        def compile_unit(unit: tuple[Path, InstructionSet]) -> None:
            with _whole(objects[unit[0]]) as path:
                sys.stderr.write(_run([*compile_command(plan, *unit), "-o", str(path)], root, caches))  # its warnings

        with ThreadPoolExecutor(_cores()) as pool:
            list(pool.map(compile_unit, missing))
        with _whole(library) as path:
            _run([*link_command(plan, [str(path) for path in objects.values()]), "-o", str(path)], root, caches)
        for old in {*folder.glob("*.o"), *folder.glob("*.so")} - {*objects.values(), library}:
            old.unlink()
    return Built(library, compiled=len(missing), units=len(keys))


def install(library: Path, output: Path) -> None:
    """Copy a library to its place as a whole: a process that has the old one open keeps that."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with _whole(output) as path:
        shutil.copyfile(library, path)
        path.chmod(0o755)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check(compiler: Compiler) -> None:
    if compiler.is_zig and find_spec("ziglang") is None:
        raise BuildError(
            f"No compiler: ziglang is not installed for {sys.executable}. "
            f"Run `{sys.executable} -m pip install '{ZIG_REQUIREMENT}'`, or set CXX to g++ or clang++."
        )


def _run(command: list[str], root: Path, environment: Mapping[str, str]) -> str:
    """Run a command in the root folder and return what it said; what is set already wins over `environment`."""
    try:
        done = subprocess.run(
            command, cwd=root, env={**environment, **os.environ}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise BuildError(
            f"{command[0]!r} can't be run: {error.strerror}. CXX names a compiler, or is unset."
        ) from error
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise BuildError(f"Exit status {done.returncode} of `{shlex.join(command)}`:\n{said}")
    return said


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time build in a folder: several environments are often installed side by side."""
    import fcntl  # not on Windows, where this module must still say that there is no target

    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Give a place to write a file, which then takes its name at once, or never."""
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        written = Path(folder) / path.name
        yield written
        os.replace(written, path)


def main() -> None:
    """Build for the target that is asked for, and put the library where the checkout's Python looks for it."""
    parser = argparse.ArgumentParser(description="Compile the native engine. CXX names a compiler other than zig.")
    parser.add_argument("--target", choices=list(TARGETS), help="default: IQE_TARGET, or this machine's")
    parser.add_argument("--output", type=Path, help=f"the library's file (default: {IN_PLACE})")
    parser.add_argument("--symbols", action="store_true", help="with function names and lines, for profilers")
    arguments = parser.parse_args()
    started = time.perf_counter()
    try:
        target = arguments.target or chosen_target(os.environ, host_target())
        if target is None:
            raise BuildError(f"The engine does not run on this machine; name one of {', '.join(TARGETS)} by --target.")
        if arguments.output is None and target != host_target():
            raise BuildError(f"A library for {target} is no use in this checkout; say where it goes by --output FILE.")
        built = build(Plan(target, chosen_compiler(os.environ), arguments.symbols))
        output = arguments.output or ROOT / IN_PLACE
        install(built.library, output)
    except BuildError as error:
        sys.exit(f"error: {error}")
    print(
        f"{output}: {target}, {output.stat().st_size:,} bytes, {built.compiled} of {built.units} units compiled, "
        f"{time.perf_counter() - started:.1f} s"
    )


if __name__ == "__main__":
    main()
