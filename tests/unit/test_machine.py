"""What is recorded of a machine, and what never is."""

from __future__ import annotations

import dataclasses
import platform

import pytest

from intel_quantized_embeddings.reporting import machine
from intel_quantized_embeddings.reporting.machine import (
    describe_machine,
    library_versions,
    parse_busy,
    parse_cpuinfo,
    shown_command,
    threads_per_core,
    without_paths,
)

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
siblings\t: 8
cpu cores\t: 4
flags\t\t: fpu avx2 avx512_vnni

processor\t: 1
model name\t: Another
"""


def test_the_first_processor_speaks_for_all():
    fields = parse_cpuinfo(CPUINFO)
    assert fields["model name"] == "Some CPU @ 2.00GHz"
    assert fields["flags"].split() == ["fpu", "avx2", "avx512_vnni"]
    assert threads_per_core(fields) == 2
    assert parse_cpuinfo("") == {}
    assert threads_per_core({}) is None


def test_busy_cores_are_what_is_not_idle():
    before = "cpu  100 0 50 1000 10 0 5 0 0 0\ncpu0 1 1 1"
    after = "cpu  150 0 100 1090 20 0 5 0 0 0\ncpu0 1 1 1"
    assert parse_busy(before, after, cores=4) == 2.0  # 100 of 200 ticks
    assert parse_busy(before, before, cores=4) is None
    assert parse_busy(None, None, cores=4) is None


def test_a_machine_is_described_without_its_name():
    found = describe_machine()
    assert found.cpu
    assert 1 <= found.allowed_cores <= found.cores
    assert found.python.endswith(platform.python_version())
    assert not platform.node() or platform.node() not in found.system.split()


@pytest.mark.parametrize(
    ("flags", "shown"),
    [((), "A CPU"), (("avx2", "fma"), "A CPU (AVX2)"), (("avx2", "avx512_vnni", "avx_vnni"), "A CPU (AVX-512-VNNI)")],
)
def test_the_kind_of_a_cpu_names_the_best_that_it_has_for_int8(flags, shown):
    assert dataclasses.replace(describe_machine(), cpu="A CPU", flags=flags).kind == shown


def test_versions_are_of_what_is_installed():
    assert list(library_versions(["numpy", "no-such-distribution"])) == ["numpy"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no file /home/me/models/x.xml here", "no file x.xml here"),
        ("open('/a/b.bin') failed: ~/c/d", "open('b.bin') failed: d"),
        ("sentence-transformers/all-MiniLM-L6-v2 or 3/4", "sentence-transformers/all-MiniLM-L6-v2 or 3/4"),
        ("nothing", "nothing"),
        ("at file:///home/me/x and file://localhost/home/me/y", "at x and y"),
        ("open:/home/me/x", "open:x"),
        (r"Error:C:\Users\me", "Error:me"),
        (r"open('C:\\Users\\me\\x')", "open('x')"),
        ("https://huggingface.co/org/model", "https://huggingface.co/org/model"),
    ],
)
def test_paths_are_cut_to_their_last_part(text, shown):
    assert without_paths(text) == shown


def test_own_folders_and_the_hosts_name_are_not_shown(tmp_path, monkeypatch):
    """Even where a folder's name has characters at which a path seems to end."""
    home, here = tmp_path / "me (1)", tmp_path / "work; 2"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(machine.Path, "home", lambda: home)
    monkeypatch.setattr(machine.platform, "node", lambda: "desk-7")
    monkeypatch.setattr(machine.sys, "prefix", "/opt/our (env)")
    said = f"on desk-7: {home}/a/x, {here}/y and /opt/our (env)/lib/z, not desk-70"
    assert without_paths(said) == "on host: x, y and z, not desk-70"
    assert without_paths(str(home)) == "~"


def test_a_command_is_recorded_without_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").touch()
    command = [
        "iqe",
        "benchmark",
        "org/model",
        f"{tmp_path}/m",
        "--texts",
        "data/mine.txt",
        "--output=/a/out",
        "--x",
        "5",
    ]
    assert shown_command(command) == [
        *("iqe", "benchmark", "org/model", "m", "--texts", "mine.txt", "--output=out", "--x", "5")
    ]
