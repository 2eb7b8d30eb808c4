"""Runs same_bits.cpp against every kernel that can run here: python native/tests/run.py [PART ...].

native: the library as it is built, on this CPU. aarch64: the one for aarch64, under qemu. emulated: all kernels of
x86-64, the newer ones with functions in place of their instructions. sanitized: the older ones under sanitizers.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import build  # native/build.py

ROOT = build.ROOT
TESTS = Path("native/tests")
EMULATED = TESTS / "emulated"
DISPATCH = TESTS / "dispatch.cpp"  # for programs that list their kernels
PROGRAM = TESTS / "same_bits.cpp"
EXPECTED = TESTS / "same_bits.txt"
WORK = ROOT / "build/native/tests"
AARCH64_LIBRARIES = Path("/usr/aarch64-linux-gnu")  # Debian's libc6-arm64-cross, which qemu-user needs
RUN_SECONDS = 1800
# As build.py compiles, but sooner done; sanitizers are given by each part.
NOT_HERE = ("-O3", "-fno-sanitize=all", "-fvisibility=hidden")
PLAIN_FLAGS = tuple(flag for flag in build.COMPILE_FLAGS if flag not in NOT_HERE)
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1")
NEWER = ("avxvnni", "avx512vnni", "amx")  # what is emulated, and too much for compilers with sanitizers
Unit = tuple[Path, tuple[str, ...]]


class Skipped(Exception):
    """A part that can't run here; the message says what is missing."""


def native() -> None:
    """Run the library that build.py makes for this machine."""
    target = build.host_target()
    if target is None:
        raise Skipped("the engine does not run on this machine")
    compiler = build.chosen_compiler(os.environ)
    library = _library(target, compiler)
    flags = ["-O2"] if not compiler.is_zig else ["-O2", "-target", f"{target}-linux-gnu.{build.GLIBC}", "-nostdlib++"]
    program = _link_with(library, [*compiler.command, *flags])
    _run([str(program), str(EXPECTED)], LD_LIBRARY_PATH=str(library.parent))


def aarch64() -> None:
    """Run the library for aarch64 under qemu, or on this machine where it is one."""
    if build.host_target() == "aarch64":
        raise Skipped("this machine is one: see native")
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        raise Skipped("no qemu-aarch64 (Debian's qemu-user-static)")
    if not AARCH64_LIBRARIES.is_dir():
        raise Skipped(f"no C library for aarch64 in {AARCH64_LIBRARIES} (Debian's libc6-arm64-cross)")
    compiler = build.chosen_compiler({})
    library = _library("aarch64", compiler)
    target = ["-target", f"aarch64-linux-gnu.{build.GLIBC}", "-nostdlib++", "-rtlib=none", "-fno-sanitize=all"]
    program = _link_with(library, [*compiler.command, "-O2", *target])
    places = f"LD_LIBRARY_PATH={library.parent}:{AARCH64_LIBRARIES / 'lib'}"
    _run([qemu, "-L", str(AARCH64_LIBRARIES), "-E", places, str(program), str(EXPECTED)])


def emulated() -> None:
    """Run all kernels of x86-64 on a machine with AVX2."""
    compiler = _host_compiler()
    if build.host_target() != "x86_64":
        raise Skipped("not a machine of x86-64")
    if not Path("/usr/include/simde/x86/avx512.h").is_file():
        raise Skipped("no SIMDe (Debian's libsimde-dev)")
    avx2 = next(isa for isa in build.TARGETS["x86_64"] if isa.name == "avx2")
    newer = [(build.SOURCES / "isa" / f"{name}.cpp", (*avx2.others, "-I", str(EMULATED))) for name in NEWER]
    _run_units("emulated", compiler, [*_units(), *newer], (*NEWER, "avx2", "scalar"), ("-Wno-psabi",))


def sanitized() -> None:
    """Run this machine's older kernels under the address and undefined sanitizers."""
    target = build.host_target()
    if target is None:
        raise Skipped("the engine does not run on this machine")
    kernels = ("scalar", "avx2") if target == "x86_64" else ("scalar", "neon")
    _run_units("sanitized", _host_compiler(), _units(), kernels, SANITIZERS)


PARTS: dict[str, Callable[[], None]] = {
    "native": native,
    "aarch64": aarch64,
    "emulated": emulated,
    "sanitized": sanitized,
}


def _host_compiler() -> tuple[str, ...]:
    """Return the command of CXX, g++ or clang++: zig has no sanitizer libraries."""
    named = tuple(shlex.split(os.environ.get("CXX", "")))
    found = named or tuple(name for name in ("g++", "clang++") if shutil.which(name))[:1]
    if not found:
        raise Skipped("no g++ or clang++")
    return found


def _library(target: str, compiler: build.Compiler) -> Path:
    """Return a folder's libiqe.so of a target."""
    if compiler.is_zig and find_spec("ziglang") is None:
        raise Skipped(f"no {build.ZIG_REQUIREMENT} in {sys.executable}")
    library = WORK / target / build.IN_PLACE.name
    build.install(build.build(build.Plan(target, compiler)).library, library)
    return library


def _link_with(library: Path, command: Sequence[str]) -> Path:
    program = library.parent / "same_bits"
    caches = {name: str(ROOT / build.WORK / "zig-cache") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    flags = ["-std=c++17", "-Wall", "-Wextra", "-g0", "-fno-exceptions", "-fno-rtti"]
    _run([*command, *flags, str(PROGRAM), str(library), "-o", str(program), "-lm", "-lc"], **caches)
    return program


def _units() -> list[Unit]:
    """Return the engine's sources and flags, without the newer kernels and what chooses among all."""
    target = build.host_target()
    assert target is not None
    left_out = ("dispatch", *NEWER)
    return [(source, isa.others) for source, isa in build.units(target) if source.stem not in left_out]


def _run_units(
    part: str, compiler: tuple[str, ...], units: Sequence[Unit], kernels: Sequence[str], flags: tuple[str, ...]
) -> None:
    """Compile what has changed, link it with the test, and run that with the kernels that are named."""
    folder = WORK / part
    folder.mkdir(parents=True, exist_ok=True)
    headers = hashlib.sha256(_run([*compiler, "--version"]).encode())
    for header in sorted([*(ROOT / build.SOURCES).rglob("*.h"), *(ROOT / EMULATED).glob("*.h")]):
        headers.update(header.read_bytes())

    listed = "-DIQE_KERNELS=" + " ".join(f"IQE_KERNEL({name})" for name in kernels)

    def compiled(unit: Unit) -> str:
        source, own = unit
        command = [*compiler, *PLAIN_FLAGS, "-O1", *flags, *own, "-c", str(source)]
        key = headers.copy()
        key.update("\0".join(command).encode() + (ROOT / source).read_bytes())
        made = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
        if not made.is_file():
            for old in folder.glob(f"{source.stem}-*.o"):
                old.unlink()
            unfinished = made.with_suffix(".part")
            _run([*command, "-o", str(unfinished)])
            unfinished.rename(made)
        return str(made)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        made = list(pool.map(compiled, [*units, (DISPATCH, (listed,)), (PROGRAM, ())]))
    program = folder / "same_bits"
    _run([*compiler, *flags, *made, "-o", str(program), "-lpthread", "-lm"])
    _run([str(program), str(EXPECTED)])


def _run(command: Iterable[str], **environment: str) -> str:
    """Run a command in the root folder and return what it says; a failure says it too."""
    command = list(command)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=RUN_SECONDS,
    )
    if done.returncode:
        raise build.BuildError(f"Exit status {done.returncode} of `{shlex.join(command)}`:\n{done.stdout}")
    if str(EXPECTED) in command:
        sys.stdout.write("".join(f"  {line}\n" for line in done.stdout.splitlines()))
    return done.stdout


def main() -> int:
    """Run the parts that are named, or all, and return 1 where one failed, or could not run though it must."""
    parser = argparse.ArgumentParser(description="Test that all kernels of the native engine give the same bits.")
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--no-skip", action="store_true", help="fail where a part can't run here")
    arguments = parser.parse_args()
    if unknown := set(arguments.part) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    failed = False
    for name in arguments.part or PARTS:
        started = time.perf_counter()
        try:
            PARTS[name]()
            said = "passed"
        except Skipped as reason:
            said = f"skipped: {reason}"
            failed = failed or arguments.no_skip
        except (build.BuildError, subprocess.TimeoutExpired) as error:
            said = f"FAILED: {error}"
            failed = True
        sys.stdout.write(f"{name}: {said} ({time.perf_counter() - started:.0f} s)\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
