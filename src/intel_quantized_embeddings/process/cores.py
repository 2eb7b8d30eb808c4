"""The cores granted to this process by its affinity and its cgroup's CPU quota, not the host's count."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def granted_cores() -> int:
    """Return the number of cores that this process may use: those of its affinity, or fewer under a tighter quota."""
    return within_quota(len(affinity()))


def within_quota(threads: int) -> int:
    """Limit a number of threads to the CPU quota.

    A quota is rounded down, to 1 at least: a thread more than the quota pays for is stopped in the middle of
    every period, and all others wait for it.
    """
    quota = cpu_quota()
    return threads if quota is None else min(threads, max(1, int(quota)))


def cpu_quota(*, own_cgroups: Path = _OWN_CGROUPS, mounted_at: Path = _CGROUPS) -> float | None:
    """Return the CPU time, in cores, that the cgroup and those above it allow; None without a limit.

    Reads `cpu.max` of version 2 and `cpu.cfs_quota_us` of version 1 (Linux's cgroup-v2.rst and
    sched-bwc.rst), each from the process's own group up to the root.
    """
    try:
        lines = own_cgroups.read_text().splitlines()
    except OSError:
        return None  # not Linux
    quotas = []
    for line in lines:  # id:controllers:path
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 1 may be mounted under other names of its group than it is listed with, but always under this one.
        root = mounted_at / "cpu" if controllers else mounted_at
        # A container may see its group's path on the host, which does not exist inside: then the root is its own group.
        folder = root / path.strip("/")
        folders = [folder, *folder.parents] if folder.is_dir() else [root]
        quotas += [_quota(at) for at in folders if at.is_relative_to(root)]
    limits = [quota for quota in quotas if quota is not None]
    return min(limits, default=None)


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # no limit here, or an unknown format


def affinity() -> list[int]:
    """Return the numbers of the logical cores that this process may run on."""
    try:
        return sorted(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return list(range(os.cpu_count() or 1))
