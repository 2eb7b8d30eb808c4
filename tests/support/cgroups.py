"""A cgroup with a CPU quota, for processes of a test, where this machine lets one be made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNTED_AT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds


@contextmanager
def cpu_quota(cores: float) -> Iterator[Path]:
    """Make a group that may use so many cores; the test is skipped where that is not allowed.

    Yields:
        Its folder. A process joins it by writing its id to `cgroup.procs` in it.
    """
    version_2 = (_MOUNTED_AT / "cgroup.controllers").is_file()
    group = (_MOUNTED_AT if version_2 else _MOUNTED_AT / "cpu") / f"iqe-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as exc:
        pytest.skip(f"no cgroup can be made here: {exc}")
    try:
        try:
            if version_2:
                (group / "cpu.max").write_text(f"{round(cores * _PERIOD)} {_PERIOD}")
            else:
                (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
                (group / "cpu.cfs_quota_us").write_text(str(round(cores * _PERIOD)))
        except OSError as exc:
            pytest.skip(f"no CPU quota can be set here: {exc}")
        yield group
    finally:
        group.rmdir()  # which works once its processes are gone
