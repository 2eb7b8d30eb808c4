"""Good folders to spoil."""

from __future__ import annotations

import pytest

from fuzz.folders import write_folders
from fuzz.targets import Folders


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return write_folders(tmp_path_factory.mktemp("fuzz"))
