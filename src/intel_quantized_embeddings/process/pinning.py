"""Pin a process to cores of its own, among all processes of a machine that do so.

A core is claimed by binding a name of Linux's abstract socket namespace (unix(7)): one process of the machine, or of
the container, can have it, there is no file to be left behind or misplaced, and the kernel releases the name
when the process ends for any reason.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from intel_quantized_embeddings.errors import OptionError
from intel_quantized_embeddings.process.cores import affinity, cpu_quota

logger = logging.getLogger(__name__)

_NAME = "\0intel-quantized-embeddings/"
_CPUS = Path("/sys/devices/system/cpu")
_POLL_S = 0.1
# The process's cores, held until it ends; nothing else releases them.
_CLAIMS: dict[int, socket.socket] = {}


def pin_to_own_cores(wanted: int, *, wait_s: float = 10.0) -> list[int]:
    """Pin the process, with all its threads, to cores of its affinity that no other process claimed, and return them.

    If the CPU quota is tighter than the affinity (a container with a CPU limit), nothing is pinned: the affinity's
    cores belong to other containers too, and each would choose the same ones, because containers don't see each other's
    claims. Nothing is pinned on systems without an affinity either. Both are logged. A process that has cores keeps
    them for everything that it loads. `wait_s` is for processes that are about to end; too few cores are an
    OptionError.
    """
    if not sys.platform.startswith("linux"):
        logger.warning("not pinned to cores: this is not Linux")
        return []
    if _CLAIMS:
        return sorted(_CLAIMS)
    allowed, quota = affinity(), cpu_quota()
    if quota is not None and quota < len(allowed):
        told = "not pinned to cores: a CPU quota of %g grants time, not cores, on the %d cores allowed"
        logger.warning(told, quota, len(allowed))
        return []
    ends = time.monotonic() + (wait_s if wanted <= len(allowed) else 0)
    while len(claims := _claim_cores(allowed, wanted)) < wanted:
        for claim in claims.values():
            claim.close()
        if time.monotonic() > ends:
            raise OptionError(
                f"cores wanted for this process alone: {wanted}; left by others of the {len(allowed)} that it may run "
                f"on ({', '.join(map(str, allowed))}): {len(claims)}. Start fewer processes, give each fewer cores, or "
                f"pass pin_cores=False."
            )
        time.sleep(_POLL_S)
    _CLAIMS.update(claims)
    _pin_all_threads(claims)
    return sorted(claims)


def whole_cores_first(cores: Iterable[int], *, described_at: Path = _CPUS) -> list[int]:
    """Sort logical cores so that the second thread of a physical core comes after the first threads of all."""
    taken: dict[str, int] = {}
    ranks = {}
    for core in sorted(cores):
        try:
            siblings = (described_at / f"cpu{core}/topology/thread_siblings_list").read_text().strip()
        except OSError:
            siblings = f"only {core}"
        ranks[core] = taken[siblings] = taken.get(siblings, -1) + 1
    return sorted(ranks, key=lambda core: (ranks[core], core))


def _claim_cores(allowed: list[int], wanted: int) -> dict[int, socket.socket]:
    """Claim up to `wanted` cores, one process at a time: two at once could each keep cores that the other lacks."""
    claims: dict[int, socket.socket] = {}
    choosing = _claim("choosing")
    if choosing is None:
        return claims
    with choosing:
        for core in whole_cores_first(allowed):
            if len(claims) == wanted:
                break
            claim = _claim(f"core-{core}")
            if claim is not None:
                claims[core] = claim
    return claims


def _claim(name: str) -> socket.socket | None:
    """Bind a name; return None while another process has it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(_NAME + name)
    except OSError as exc:
        claim.close()
        if exc.errno == errno.EADDRINUSE:
            return None
        raise
    return claim


def _pin_all_threads(cores: Iterable[int]) -> None:
    """Set the affinity of every thread; threads started later inherit it."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # the thread ended meanwhile
            os.sched_setaffinity(int(thread), cores)
