"""Ray on this machine alone: ports on the loopback only, no dashboard, nothing reported, and nothing left behind.

Import it before `ray`, which reads the environment once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
os.environ.update(ENVIRONMENT)


@contextmanager
def short_folder() -> Iterator[str]:
    """A folder for Ray's sockets, whose paths may have 107 bytes; pytest's own are too long."""
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_ray(*, num_cpus: int) -> Iterator[None]:
    """Start Ray for a while."""
    import ray
    import ray.data

    with short_folder() as folder:
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=100_000_000,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=folder,
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            yield
        finally:
            ray.shutdown()
