"""Cores that processes share out among themselves: real processes, as the kernel decides."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.process import pinning
from intel_quantized_embeddings.process.pinning import pin_to_own_cores, whole_cores_first

CORES = sorted(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else []

# Says which cores it got, or the error, and where all its threads may run; ends when its input does.
PROCESS = """
import os, sys, threading
from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.process import pinning
name, wanted, wait_s = sys.argv[1:]
pinning._NAME, pinning.cpu_quota = name.replace("@", chr(0)), lambda: None
threading.Thread(target=sys.stdin.read).start()
try:
    got = pinning.pin_to_own_cores(int(wanted), wait_s=float(wait_s))
    assert pinning.pin_to_own_cores(int(wanted), wait_s=0) == got  # for another model in the same process
    print(got, {tuple(sorted(os.sched_getaffinity(int(task)))) for task in os.listdir("/proc/self/task")}, flush=True)
except OptionError as error:
    print(error, flush=True)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that asks for cores; those of one test share them out among themselves alone."""
    if len(CORES) < 2:
        pytest.skip("needs Linux and two cores")
    name = f"@iqe-test-{uuid.uuid4()}/"
    with contextlib.ExitStack() as processes:

        def start(wanted: int, *, wait_s: float = 0, allowed: list[int] | None = None) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", PROCESS, name, str(wanted), str(wait_s)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                preexec_fn=lambda: os.sched_setaffinity(0, allowed or CORES),
            )
            processes.enter_context(process)
            processes.callback(process.kill)
            return process

        yield start


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_each_process_gets_another_core_for_all_its_threads(start):
    """Started together, they must not settle on the same one."""
    answers = sorted(said(process) for process in [start(1, allowed=CORES[:2], wait_s=10) for _ in range(2)])
    assert answers == [f"[{core}] {{({core},)}}" for core in CORES[:2]]


def test_only_cores_that_the_process_may_run_on_are_taken(start):
    assert said(start(1, allowed=[CORES[1]])) == f"[{CORES[1]}] {{({CORES[1]},)}}"


def test_too_few_cores_are_an_error_that_counts_them(start):
    first = start(1, allowed=CORES[:2])
    said(first)
    message = said(start(2, allowed=CORES[:2]))
    assert "wanted for this process alone: 2;" in message
    assert f"({CORES[0]}, {CORES[1]}): 1." in message
    assert said(start(1, allowed=CORES[:2])).startswith(f"[{CORES[1]}]")  # the refused one kept nothing


def test_the_cores_of_a_killed_process_are_free_again(start):
    first = start(1, allowed=CORES[:1])
    said(first)
    second = start(1, allowed=CORES[:1], wait_s=30)
    first.kill()
    assert said(second).startswith(f"[{CORES[0]}]")


def test_a_quota_tighter_than_the_affinity_pins_nothing(monkeypatch, caplog):
    """Its cores are other containers' too, and all would choose the first."""
    monkeypatch.setattr(pinning, "cpu_quota", lambda: 0.5)
    before = os.sched_getaffinity(0)
    assert pin_to_own_cores(1) == []
    assert os.sched_getaffinity(0) == before
    assert "a CPU quota of 0.5" in caplog.text


def test_more_cores_than_allowed_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(pinning, "_NAME", f"\0iqe-test-{uuid.uuid4()}/")
    monkeypatch.setattr(pinning, "cpu_quota", lambda: None)
    with pytest.raises(OptionError, match="alone: 9999;"):
        pin_to_own_cores(9999, wait_s=600)


def test_second_threads_of_a_physical_core_come_last(tmp_path):
    for siblings in ("0,4", "1,5", "2,6"):
        for core in siblings.split(","):
            (tmp_path / f"cpu{core}/topology").mkdir(parents=True)
            (tmp_path / f"cpu{core}/topology/thread_siblings_list").write_text(f"{siblings}\n")
    assert whole_cores_first([6, 5, 4, 2, 1, 0], described_at=tmp_path) == [0, 1, 2, 4, 5, 6]
    assert whole_cores_first([4, 0, 1, 9], described_at=tmp_path) == [0, 1, 9, 4]  # 9 is described nowhere
