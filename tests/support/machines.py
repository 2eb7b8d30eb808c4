"""Machines of their own on this one: each with a core, a network address, processes, a /dev/shm and a temporary folder.

Each is a process in new namespaces (unshare(1)); killed, it takes with it all that runs in them, as a power cut would.
The first one is the switch too: a bridge in its network, on which each other one has a cable (veth(4)). Nothing of it
is seen from outside, so nothing is left when the processes end. Wants root, as in a container with CAP_SYS_ADMIN and
CAP_NET_ADMIN.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intel_quantized_embeddings.process.cores import affinity
from support.local_ray import ENVIRONMENT, short_folder

_NETWORK = "10.231.0"
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
_WAITS = "sleep"


@dataclass(slots=True)
class Machine:
    """One machine; `start` switches it on, `kill` takes its power away.

    Attributes:
        number: Its place among the machines, from 0 on; 0 is the switch.
        core: The one core that `run` gives.
        folder: Its temporary folder, which the others have too, with other contents.
    """

    number: int
    core: int
    folder: Path
    _holder: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _init: int = 0  # the first process of its namespaces, as seen from outside

    @property
    def address(self) -> str:
        return f"{_NETWORK}.{self.number + 1}"

    def start(self, switch: Machine | None = None) -> None:
        """Switch it on; `switch` is where its cable goes, None for the switch itself."""
        self._holder = subprocess.Popen([*_UNSHARE, _WAITS, "infinity"], stderr=subprocess.PIPE)
        self._init = _first_process(self._holder)
        for place in ("/dev/shm", str(self.folder)):
            self._configure("mount", "-t", "tmpfs", "none", place)
        self._configure("ip", "link", "set", "lo", "up")
        if switch is None:
            self._configure("ip", "link", "add", "switch", "type", "bridge")
            port = "switch"
        else:
            port = f"to-{self.number}"
            # Made from outside, where the processes of both have a number.
            there, here = (port, "netns", str(switch._init)), ("switch", "netns", str(self._init))
            _done("ip", "link", "add", *there, "type", "veth", "peer", "name", *here)
            switch._configure("ip", "link", "set", port, "master", "switch", "up")
        self._configure("ip", "addr", "add", f"{self.address}/24", "dev", "switch")
        self._configure("ip", "link", "set", "switch", "up")

    def kill(self) -> None:
        """End all its processes at once."""
        if self._holder is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._holder.wait()
            self._holder = None

    def command(self, *command: object, cores: Sequence[int] | None = None) -> list[str]:
        """Return what runs a command on it, on its core unless others are named."""
        inside = ["nsenter", "--target", str(self._init), "--net", "--mount", "--pid", "--"]
        return [*inside, "taskset", "--cpu-list", ",".join(map(str, cores or [self.core])), *map(str, command)]

    def _configure(self, *command: str) -> None:
        _done(*self.command(*command))


@contextlib.contextmanager
def machines(number: int = 2) -> Iterator[list[Machine]]:
    """Have some machines for a while.

    Raises:
        OSError: This system does not allow it; the message says what was refused.
    """
    cores = affinity()
    if len(cores) < number:
        raise OSError(f"{number} machines of a core each want {number} cores, and there are {len(cores)}")
    missing = [tool for tool in ("unshare", "nsenter", "ip", "taskset", "mount") if shutil.which(tool) is None]
    if missing:
        raise OSError(f"{', '.join(missing)}: not installed (Debian: util-linux, iproute2)")
    with short_folder() as folder:
        made = [Machine(place, core, Path(folder)) for place, core in enumerate(cores[:number])]
        try:
            for machine in made:
                machine.start(None if machine is made[0] else made[0])
            yield made
        except subprocess.CalledProcessError as exc:
            raise OSError(f"{' '.join(exc.cmd)}: {exc.stderr.strip()}") from exc
        finally:
            for machine in reversed(made):
                machine.kill()


def start_ray(machine: Machine, *, head: Machine) -> None:
    """Start Ray's node of a machine with one CPU, and wait until it has joined the cluster.

    Raises:
        OSError: It did not start; the message is what Ray said.
    """
    where = ["--head", "--port=6379", f"--temp-dir={machine.folder}", "--include-dashboard=false"]
    if machine is not head:
        where = [f"--address={head.address}:6379"]
    common = [f"--node-ip-address={machine.address}", "--num-cpus=1", "--object-store-memory=200000000"]
    command = ["ray", "start", *where, *common]
    program = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *command[1:]]
    started = subprocess.run(machine.command(*program), capture_output=True, text=True, env=environment(), check=False)
    if started.returncode:
        raise OSError(f"{' '.join(command)}: {started.stdout}{started.stderr}")


def environment() -> dict[str, str]:
    """Return the environment of a process of a cluster: this one's, with ports that other machines reach, and a key."""
    key = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    alone = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
    return {name: value for name, value in (os.environ | ENVIRONMENT | key).items() if name != alone}


def _done(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _first_process(holder: subprocess.Popen[bytes]) -> int:
    """Return the process in the new namespaces once they are made.

    Raises:
        OSError: They can't be made here.
    """
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    while holder.poll() is None:
        found = children.read_text().split()
        if found and Path(f"/proc/{found[0]}/comm").read_text().strip() == _WAITS:
            return int(found[0])
        time.sleep(0.01)
    raise OSError(f"{' '.join(_UNSHARE)}: {holder.communicate()[1].decode().strip()}")
