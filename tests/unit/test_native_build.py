"""How the native engine is compiled: sources, flags, targets and compilers, and that only what changed is compiled."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from native import build
from native.build import BuildError, Compiler, Plan

ROOT = Path(__file__).resolve().parents[2]
ZIG = build.chosen_compiler({})
GXX = build.chosen_compiler({"CXX": "g++"})
UNITS = [(target, source, isa) for target in build.TARGETS for source, isa in build.units(target)]
NAMES = [f"{target}-{source.name}" for target, source, _ in UNITS]


def command_of(target: str, name: str, compiler: Compiler) -> list[str]:
    source, isa = next(unit for unit in build.units(target) if unit[0].name == name)
    return build.compile_command(Plan(target, compiler), source, isa)


class TestSources:
    def test_every_file_of_an_instruction_set_has_flags_and_the_other_way_round(self):
        files = {path.stem for path in (ROOT / build.SOURCES / "isa").glob("*.cpp")}
        assert files == {isa.name for isas in build.TARGETS.values() for isa in isas}

    @pytest.mark.parametrize("target", build.TARGETS)
    def test_every_other_file_is_compiled_for_each_target_at_its_baseline(self, target):
        files = {path.name for path in (ROOT / build.SOURCES).glob("*.cpp")}
        common = [(source, isa) for source, isa in build.units(target) if source.parent == build.SOURCES]
        assert {source.name for source, _ in common} == files
        assert {isa.name for _, isa in common} == {"scalar"}

    def test_the_least_demanding_units_are_linked_first(self):
        """The linker keeps the first of several definitions of an inline function, which must run on every CPU."""
        assert [isa.name for _, isa in build.units("x86_64")][-5:] == ["scalar", "avx2", "avxvnni", "avx512vnni", "amx"]

    def test_a_row_without_its_file_is_told(self, tmp_path):
        (tmp_path / build.SOURCES).mkdir(parents=True)
        with pytest.raises(BuildError, match=r"isa/scalar.cpp is missing; a row of TARGETS"):
            build.is_current(Plan("x86_64", ZIG), root=tmp_path)


class TestFlags:
    @pytest.mark.parametrize(
        ("target", "name", "march"),
        [
            ("x86_64", "api.cpp", "-march=x86_64"),
            ("x86_64", "scalar.cpp", "-march=x86_64"),
            ("x86_64", "avx2.cpp", "-march=x86_64_v3"),
            ("x86_64", "avxvnni.cpp", "-march=x86_64_v3+avxvnni+fast_dpwssd"),
            ("x86_64", "avx512vnni.cpp", "-march=x86_64_v4+avx512vnni+fast_dpwssd"),
            ("x86_64", "amx.cpp", "-march=x86_64_v4+avx512vnni+fast_dpwssd+amx_tile+amx_int8"),
            ("aarch64", "api.cpp", "-march=generic"),
            ("aarch64", "neon.cpp", "-march=generic+dotprod"),
        ],
    )
    def test_zig_compiles_each_unit_for_its_instruction_set_and_an_old_c_library(self, target, name, march):
        command = command_of(target, name, ZIG)
        assert [flag for flag in command if flag.startswith(("-march", "-mcpu"))] == [march]
        assert command[:4] == [sys.executable, "-m", "ziglang", "c++"]
        assert command[command.index("-target") + 1] == f"{target}-linux-gnu.2.17"

    @pytest.mark.parametrize(
        ("target", "name", "machine"),
        [
            ("x86_64", "api.cpp", ["-march=x86-64"]),
            ("x86_64", "avx2.cpp", ["-march=x86-64-v3"]),
            ("x86_64", "avxvnni.cpp", ["-march=x86-64-v3", "-mavxvnni"]),
            ("x86_64", "avx512vnni.cpp", ["-march=x86-64-v4", "-mavx512vnni"]),
            ("x86_64", "amx.cpp", ["-march=x86-64-v4", "-mavx512vnni", "-mamx-tile", "-mamx-int8"]),
            ("aarch64", "neon.cpp", ["-mno-outline-atomics", "-march=armv8.2-a+dotprod"]),
        ],
    )
    def test_other_compilers_get_the_same_in_their_spelling(self, target, name, machine):
        command = command_of(target, name, GXX)
        assert [flag for flag in command if flag.startswith("-m")] == machine
        assert command[0] == "g++"
        assert "-target" not in command

    @pytest.mark.parametrize(("target", "source", "isa"), UNITS, ids=NAMES)
    @pytest.mark.parametrize("compiler", [ZIG, GXX], ids=["zig", "g++"])
    def test_no_unit_has_exceptions_types_at_run_time_or_contracted_floats(self, target, source, isa, compiler):
        """Contraction would make the same source give other bits on another compiler."""
        command = build.compile_command(Plan(target, compiler), source, isa)
        assert {"-std=c++17", "-O3", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off", "-fPIC"} <= {*command}
        assert not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations"} & {*command}

    @pytest.mark.parametrize(
        ("compiler", "without"), [(ZIG, "-rtlib=none"), (GXX, "-nodefaultlibs")], ids=["zig", "g++"]
    )
    def test_nothing_of_a_compilers_own_libraries_is_linked(self, compiler, without):
        command = build.link_command(Plan("x86_64", compiler), ["a.o"])
        assert {without, "-Wl,-z,defs", "-Wl,-z,noexecstack", "-Wl,-soname,libiqe.so"} <= {*command}
        assert [flag for flag in command if flag.startswith("-l")] == ["-lm", "-lpthread", "-lc"]

    def test_symbols_are_kept_only_for_profilers(self):
        for symbols in (False, True):
            plan = Plan("x86_64", ZIG, symbols=symbols)
            assert ("-s" in build.link_command(plan, [])) is not symbols
            assert ("-g1" in build.compile_command(plan, *build.units("x86_64")[0])) is symbols


class TestTargets:
    @pytest.mark.parametrize(
        ("machine", "target"),
        [("x86_64", "x86_64"), ("AMD64", "x86_64"), ("aarch64", "aarch64"), ("arm64", "aarch64"), ("riscv64", None)],
    )
    def test_linux_on_two_architectures(self, machine, target):
        assert build.target_of(system="Linux", machine=machine, bits=64, glibc=True) == target

    @pytest.mark.parametrize("other", [{"system": "Darwin"}, {"system": "Windows"}, {"bits": 32}, {"glibc": False}])
    def test_no_other_system_python_or_c_library(self, other):
        machine = {"system": "Linux", "machine": "x86_64", "bits": 64, "glibc": True}
        assert build.target_of(**{**machine, **other}) is None

    def test_the_environment_names_another(self):
        assert build.chosen_target({}, "x86_64") == "x86_64"
        assert build.chosen_target({"IQE_TARGET": ""}, None) is None
        assert build.chosen_target({"IQE_TARGET": "aarch64"}, "x86_64") == "aarch64"
        assert build.chosen_target({"IQE_TARGET": "none"}, "x86_64") is None

    def test_a_target_that_is_none_is_told(self):
        with pytest.raises(BuildError, match=r"'riscv64'; use one of x86_64, aarch64, none"):
            build.chosen_target({"IQE_TARGET": "riscv64"}, "x86_64")


class TestCompilers:
    @pytest.mark.parametrize("unset", [{}, {"CXX": ""}, {"CXX": " "}])
    def test_without_cxx_it_is_zig_which_must_be_installed(self, unset):
        plan = Plan("x86_64", build.chosen_compiler(unset))
        assert plan.compiler.is_zig
        assert build.requirements(plan) == [build.ZIG_REQUIREMENT]

    def test_cxx_is_a_command_with_arguments_and_needs_nothing(self):
        plan = Plan("x86_64", build.chosen_compiler({"CXX": "ccache 'my g++' -B/opt"}))
        assert plan.compiler == Compiler(("ccache", "my g++", "-B/opt"), is_zig=False)
        assert build.requirements(plan) == []

    def test_only_zigs_wheels_claim_an_old_c_library(self):
        assert build.platform_tag(Plan("aarch64", ZIG)) == "manylinux_2_17_aarch64"
        assert build.platform_tag(Plan("x86_64", GXX)) == "linux_x86_64"

    def test_the_hooks_requirement_is_the_dependency_groups(self):
        assert f'"{build.ZIG_REQUIREMENT}"' in (ROOT / "pyproject.toml").read_text("utf-8")

    def test_a_compiler_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(BuildError, match=r"'no-such-compiler' can't be run"):
            build.build(Plan("x86_64", build.chosen_compiler({"CXX": "no-such-compiler"})), work=tmp_path)


@pytest.fixture
def checkout(tmp_path):
    """A root with the sources, and a compiler that writes its arguments to its output and counts its calls."""
    shutil.copytree(ROOT / build.SOURCES, tmp_path / build.SOURCES)
    script = tmp_path / "compiler"
    script.write_text(
        f'#!{shutil.which("sh")}\nif [ "$1" = --version ]; then echo 1; exit; fi\n'
        f'echo called >>{tmp_path}/calls\nfor last; do :; done\necho "$@" >"$last"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return tmp_path


class TestBuilding:
    def plan(self, root: Path) -> Plan:
        return Plan("x86_64", build.chosen_compiler({"CXX": str(root / "compiler")}))

    def test_what_is_unchanged_is_not_compiled_again(self, checkout):
        plan, number = self.plan(checkout), len(build.units("x86_64"))
        assert not build.is_current(plan, root=checkout)
        first = build.build(plan, root=checkout)
        assert (first.compiled, first.units) == (number, number)
        assert build.is_current(plan, root=checkout)
        assert build.build(plan, root=checkout) == build.Built(first.library, 0, number)
        assert len((checkout / "calls").read_text().splitlines()) == number + 1  # and once to link

    def test_a_changed_source_is_compiled_alone_and_a_changed_header_with_all(self, checkout):
        plan, number = self.plan(checkout), len(build.units("x86_64"))
        old = build.build(plan, root=checkout).library
        for path, compiled in (("isa/avx2.cpp", 1), ("iqe.h", number)):
            with (checkout / build.SOURCES / path).open("a") as file:
                file.write("// changed\n")
            assert not build.is_current(plan, root=checkout)
            built = build.build(plan, root=checkout)
            assert built.compiled == compiled
            assert not old.exists()
            old = built.library

    def test_other_flags_and_another_compiler_are_other_libraries(self, checkout):
        plan = self.plan(checkout)
        build.build(plan, root=checkout)
        assert not build.is_current(Plan("x86_64", plan.compiler, symbols=True), root=checkout)
        script = checkout / "compiler"
        script.write_text(script.read_text().replace("echo 1;", "echo 2;"))
        assert not build.is_current(plan, root=checkout)

    def test_a_unit_that_does_not_compile_is_told_and_leaves_nothing(self, checkout):
        (checkout / "compiler").write_text(
            f'#!{shutil.which("sh")}\ncase "$*" in *--version*) ;; *avx2*) echo "no such thing"; exit 1;; '
            '*) for last; do :; done; echo >"$last";; esac\n'
        )
        with pytest.raises(BuildError, match=r"(?s)Exit status 1 of .*avx2.*no such thing"):
            build.build(self.plan(checkout), root=checkout)
        left = {path.name.split("-")[0] for path in (checkout / build.WORK / "x86_64").iterdir()}
        assert not {"libiqe", "avx2", ".avx2"} & left
        assert "scalar" in left

    def test_installing_leaves_the_file_that_a_process_has_open(self, tmp_path):
        """Writing into a library that is loaded would change the code under a running process."""
        library, output = tmp_path / "new.so", tmp_path / "folder" / "libiqe.so"
        library.write_bytes(b"old")
        build.install(library, output)
        with output.open("rb") as opened:
            library.write_bytes(b"new")
            build.install(library, output)
            assert opened.read() == b"old"
        assert output.read_bytes() == b"new"
        assert os.listdir(output.parent) == ["libiqe.so"]
