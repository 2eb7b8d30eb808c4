"""nginx before services, as deploy/nginx.conf sets it up."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.documents import ROOT

# Of Debian: not in everybody's PATH.
PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_PORTS = (8000, 8001)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def documented(*, port: int, services: Sequence[int]) -> str:
    """Return the file's settings with other ports, and without TLS."""
    shown = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
    replaced = {"listen 443 ssl;": f"listen 127.0.0.1:{port};"}
    replaced |= {f"127.0.0.1:{there} ": f"127.0.0.1:{here} " for there, here in zip(_PORTS, services, strict=True)}
    for there, here in replaced.items():
        assert shown.count(there) == 1, there
        shown = shown.replace(there, here)
    return shown


@contextmanager
def nginx(settings: str, *, port: int, folder: Path) -> Iterator[None]:
    """Run it with some settings of its `http` block, which listen on a port, for a while."""
    assert PROGRAM is not None
    places = "".join(f"{name}_temp_path {folder / name};\n" for name in _TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder / 'pid'}; events {{}}\n"
        f"http {{\naccess_log off;\n{places}{settings}\n}}\n",
        "utf-8",
    )
    said = folder / "said"
    process = subprocess.Popen([PROGRAM, "-p", str(folder), "-c", str(config), "-e", str(said)])
    try:
        end = time.monotonic() + 30
        while not _listens(port):
            assert process.poll() is None, said.read_text("utf-8")
            assert time.monotonic() < end, said.read_text("utf-8")
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
