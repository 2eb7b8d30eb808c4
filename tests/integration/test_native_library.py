"""What the native engine's library asks of a machine, as zig builds it for wheels; it runs wherever glibc 2.17 is."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
from collections import defaultdict
from importlib.util import find_spec

import pytest
from native import build

elffile = pytest.importorskip("elftools.elf.elffile", reason="reads libraries; in the dependency group `native`")
if find_spec("ziglang") is None:
    pytest.skip("ziglang is not installed; in the dependency group `native`", allow_module_level=True)

SYSTEM = re.compile(r"lib(c|m)\.so\.6|libpthread\.so\.0|ld-linux-(x86-64\.so\.2|aarch64\.so\.1)")
MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}


# `make native` has compiled this machine's already; the other takes a minute.
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in build.TARGETS if name != platform.machine()]


@pytest.fixture(scope="module", params=[*(name for name in build.TARGETS if name == platform.machine()), *OTHERS])
def plan(request):
    return build.Plan(request.param, build.chosen_compiler({}))


@pytest.fixture(scope="module")
def library(plan):
    return build.build(plan).library


@pytest.fixture
def elf(library):
    with library.open("rb") as file:
        yield elffile.ELFFile(file)


def test_it_is_for_its_target(elf, plan):
    assert elf["e_machine"] == MACHINES[plan.target]


def test_it_needs_the_c_library_and_nothing_else(elf):
    needed = [tag.needed for tag in elf.get_section_by_name(".dynamic").iter_tags("DT_NEEDED")]
    assert [name for name in needed if not SYSTEM.fullmatch(name)] == []


def test_it_needs_no_newer_c_library_than_its_wheel_says(elf):
    section = elf.get_section_by_name(".gnu.version_r")
    needed = {version.name for _, versions in section.iter_versions() for version in versions}
    assert needed
    newest = tuple(map(int, build.GLIBC.split(".")))
    for name in needed:
        assert tuple(map(int, name.removeprefix("GLIBC_").split("."))) <= newest, name


def test_it_has_no_executable_stack(elf):
    stacks = [segment["p_flags"] for segment in elf.iter_segments("PT_GNU_STACK")]
    assert stacks == [6]  # read and write; where there is no such segment the stack is executable


def test_it_exports_its_c_interface_only(elf):
    symbols = elf.get_section_by_name(".dynsym").iter_symbols()
    names = [symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"]
    assert "iqe_abi" in names
    assert [name for name in names if not name.startswith("iqe_")] == []


def test_no_function_is_in_units_of_two_instruction_sets(plan, library):
    """The linker keeps one for all, so inline functions and templates must be a unit's own (unnamed namespaces)."""
    places = defaultdict(set)
    for path in library.parent.glob("*.o"):
        unit = path.name.rsplit("-", 1)[0]
        isas = {isa.name for isa in build.TARGETS[plan.target]}
        with path.open("rb") as file:
            for symbol in elffile.ELFFile(file).get_section_by_name(".symtab").iter_symbols():
                if symbol["st_info"]["bind"] == "STB_WEAK" and symbol["st_shndx"] != "SHN_UNDEF":
                    places[symbol.name].add(unit if unit in isas else "scalar")
    assert {name: units for name, units in places.items() if len(units) > 1} == {}


def test_python_opens_the_one_of_this_machine(library, plan):
    if plan.target != build.host_target():
        pytest.skip(f"{plan.target} does not run here")
    assert ctypes.CDLL(str(library)).iqe_abi() >= 1


@pytest.mark.slow
def test_a_compiler_of_the_system_makes_the_same_interface(tmp_path):
    """CXX is for who packages with a compiler of theirs; g++ stands for them."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    target = build.host_target()
    built = build.build(build.Plan(target, build.chosen_compiler({"CXX": "g++"})), work=tmp_path)
    assert ctypes.CDLL(str(built.library)).iqe_abi() >= 1
