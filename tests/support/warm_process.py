"""Processes with an environment of their own that need not import OpenVINO first: forked from one that has.

For tests that need another environment or other caches, and not a fresh interpreter.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

# huggingface_hub stays out: it reads the environment when it is imported. Nothing here starts a thread.
_SERVER = """
import json, os, sys, traceback
import filelock, httpx, numpy, openvino, tokenizers, tqdm
from intel_quantized_embeddings import Encoder
assert "huggingface_hub" not in sys.modules


def run(job):
    os.environ.clear()
    os.environ.update(job["env"])
    for fd, (name, flags) in enumerate([("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)]):
        os.dup2(os.open(os.path.join(job["folder"], name), flags), fd)
    status = 1
    try:
        exec(compile(job["code"], "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else exc.code is not None
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


jobs, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
for line in jobs:
    pid = os.fork()
    if not pid:
        run(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)
"""


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The process that they are forked from; it ends with this one, when its input does."""
    return subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_warm(code: str, *, env: dict[str, str], given: str) -> subprocess.CompletedProcess[str]:
    """Run code with `given` as its input, as `subprocess.run` does."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory(prefix="iqe-tests-process-") as name:
        folder = Path(name)
        for stream, content in (("stdin", given), ("stdout", ""), ("stderr", "")):
            (folder / stream).write_text(content, "utf-8")
        print(json.dumps({"code": code, "env": env, "folder": name}), file=server.stdin, flush=True)
        status = server.stdout.readline()
        assert status, f"the warm process ended with {server.wait()}"
        out, err = ((folder / stream).read_text("utf-8") for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess([code], int(status), out, err)
