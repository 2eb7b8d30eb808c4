"""A user's machine whose hub is a `HubServer`: each call is a process of its own, with caches of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.hub_server import HubServer
from support.warm_process import run_warm

MODEL = "someone/tiny-embedder"
TEXTS = ["the cat sat on the mat", "a river of stars"]

_ENCODE = """
import json, sys
from intel_quantized_embeddings import Encoder
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
given = json.loads(sys.stdin.read())
try:
    encoder = Encoder.load(**given["options"])
    result = {"vectors": encoder.encode_documents(given["texts"]).tolist(), "fingerprint": encoder.fingerprint}
except QuantizedEmbeddingsError as exc:
    result = {"error": type(exc).__name__, "message": str(exc)}
print(json.dumps(result))
"""

_QUICKLY = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import pytest
from support.few_texts import quantize_quickly
quantize_quickly(pytest.MonkeyPatch())
"""

_FIND = """
import json, sys
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
from intel_quantized_embeddings.models.hub import find_model
given = json.loads(sys.stdin.read())
try:
    found = find_model(**given["options"])
    result = {"path": str(found.path), "name": found.name, "revision": found.revision}
except QuantizedEmbeddingsError as exc:
    result = {"error": type(exc).__name__, "message": str(exc)}
print(json.dumps(result))
"""

_FILL = """
import json, sys
from huggingface_hub import hf_hub_download, snapshot_download
given = json.loads(sys.stdin.read())["options"]
for name in given["names"]:
    hf_hub_download(given["model"], name)
if not given["names"]:
    snapshot_download(given["model"])
print("{}")
"""

_PUSH = """
import json, sys
from intel_quantized_embeddings import push_to_hub
from intel_quantized_embeddings.errors import QuantizedEmbeddingsError
given = json.loads(sys.stdin.read())
try:
    result = {"commit": push_to_hub(**given["options"])}
except QuantizedEmbeddingsError as exc:
    result = {"error": type(exc).__name__, "message": str(exc)}
print(json.dumps(result))
"""


class Machine:
    """A user's machine with caches of its own, whose hub is `hub`."""

    def __init__(self, hub: HubServer, home: Path) -> None:
        self.hub = hub
        self.home = home

    def encode(self, *, env: dict[str, str] | None = None, quick: bool = False, **options: object) -> dict[str, Any]:
        """Load an encoder and encode `TEXTS`; `quick` has it quantize on ten texts."""
        code = _QUICKLY + _ENCODE if quick else _ENCODE
        return self._run(code, env, {"model": MODEL, "precision": "fp32", **options})

    def find(self, *, env: dict[str, str] | None = None, **options: object) -> dict[str, Any]:
        """Only fetch the files."""
        return self._run(_FIND, env, {"model": MODEL, **options})

    def fill(self, *names: str) -> None:
        """Have some files fetched, or all where none is named, as another library does."""
        self._run(_FILL, None, {"model": MODEL, "names": names})

    def push(
        self, folder: Path, repo_id: str, *, env: dict[str, str] | None = None, **options: object
    ) -> dict[str, Any]:
        """Upload a folder. Xet, the hub's other way to take large files, is not spoken here."""
        given = {"folder": str(folder), "repo_id": repo_id, **options}
        return self._run(_PUSH, {"HF_HUB_DISABLE_XET": "1", **(env or {})}, given)

    def iqe(self, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The command, as a person on this machine runs it."""
        command = [sys.executable, "-m", "intel_quantized_embeddings.cli", *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment(env), capture_output=True, text=True, timeout=300, check=False
        )

    def _run(self, code: str, env: dict[str, str] | None, options: dict[str, object]) -> dict[str, Any]:
        given = json.dumps({"options": options, "texts": TEXTS})
        done = run_warm(code, env=self.environment(env), given=given)
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout.splitlines()[-1]), "log": done.stderr}

    def environment(self, env: dict[str, str] | None = None) -> dict[str, str]:
        """What a process on this machine has."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            clean.pop(name, None)
            clean.pop(name.upper(), None)
        return {
            **clean,
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home / "huggingface"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "XDG_CACHE_HOME": str(self.home / "cache"),
            **(env or {}),
        }
