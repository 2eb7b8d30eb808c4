"""A Hugging Face hub on this machine, as far as `snapshot_download` asks for one; `hub_uploads.py` takes uploads.

Serves what huggingface_hub 0.36 to 2.x request (the repository's card, its file tree, and each file's
`resolve` address) with the headers and error codes of the real one, and writes down every request.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

# Kept in LFS by the real hub, which then names their SHA-256 in headers of its own.
_LARGE = (".safetensors", ".bin", ".onnx", ".h5", ".msgpack")

_API = re.compile(r"/api/models/(?P<id>[^/]+(?:/[^/]+)?)(?:/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(r"/api/models/(?P<id>[^/]+(?:/[^/]+)?)/tree/(?P<revision>[^/]+)/?")
_RESOLVE = re.compile(r"/(?P<id>[^/]+(?:/[^/]+)?)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class Repository:
    gated: bool = False
    private: bool = False
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.refs.get(revision)


class HubServer:
    """A hub at `url` from `with` to the end of the block, or to `stop()`.

    Attributes:
        requests: Method and path of everything asked for, in order.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.repositories: dict[str, Repository] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT has to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Go away: connections are refused from here on."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def add(self, model: str, files: Path | Mapping[str, bytes], *, branch: str = "main", gated: bool = False) -> str:
        """Put a folder (or names and bytes) at the head of a branch.

        Returns:
            The commit.
        """
        if isinstance(files, Path):
            files = {f.relative_to(files).as_posix(): f.read_bytes() for f in sorted(files.rglob("*")) if f.is_file()}
        repository = self.repositories.setdefault(model, Repository())
        repository.gated = gated
        return self.commit(model, files, branch=branch)

    def commit(self, model: str, files: Mapping[str, bytes], *, branch: str) -> str:
        """Make these the files at a branch's head."""
        repository = self.repositories[model]
        digest = hashlib.sha1(model.encode())
        for name, content in files.items():
            digest.update(name.encode() + hashlib.sha256(content).digest())
        commit = digest.hexdigest()
        repository.commits[commit] = dict(files)
        repository.refs[branch] = commit
        return commit

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What to say to a request."""
        return _answer(self, path, headers) if method in ("GET", "HEAD") else Answer(HTTPStatus.NOT_FOUND)

    def downloaded(self) -> list[str]:
        """Names of the files whose bytes were fetched, in order."""
        found = (_RESOLVE.fullmatch(urlsplit(path).path) for method, path in self.requests if method == "GET")
        return [unquote(match["file"]) for match in found if match]


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def error(status: HTTPStatus, code: str, message: str) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": message, "Content-Type": "application/json"}
    return Answer(status, headers, json.dumps({"error": message}).encode())


def as_json(content: object) -> Answer:
    return Answer(HTTPStatus.OK, {"Content-Type": "application/json"}, json.dumps(content).encode())


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._respond()

        do_HEAD = do_POST = do_PUT = do_GET

        def _respond(self) -> None:
            hub.requests.append((self.command, self.path))
            answer = hub.answer(self.command, self.path, self.headers, self._body())
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the terminal; `HubServer.requests` has it."""

    return Handler


def _answer(hub: HubServer, path: str, headers: Mapping[str, str]) -> Answer:
    # Matched as quoted: a branch such as feature/x is one segment, feature%2Fx.
    path = urlsplit(path).path
    for pattern, answer in ((_TREE, _tree), (_RESOLVE, _resolve), (_API, _model)):
        match = pattern.fullmatch(path)
        if match is None:
            continue
        asked = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
        repository = hub.repositories.get(asked["id"])
        if repository is None:
            return error(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found")
        revision = asked.get("revision", "main")
        commit = repository.commit_of(revision)
        if commit is None:
            return error(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
        return answer(repository, asked, commit, headers)
    return Answer(HTTPStatus.NOT_FOUND)


def _model(repository: Repository, asked: dict[str, str], commit: str, headers: Mapping[str, str]) -> Answer:
    return as_json(
        {
            "_id": "0",
            "id": asked["id"],
            "modelId": asked["id"],
            "sha": commit,
            "private": False,
            "gated": "auto" if repository.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": name} for name in repository.commits[commit]],
        }
    )


def _tree(repository: Repository, asked: dict[str, str], commit: str, headers: Mapping[str, str]) -> Answer:
    entries = []
    for name, content in repository.commits[commit].items():
        entry: dict[str, object] = {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
        }
        if name.endswith(_LARGE):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 135}
        entries.append(entry)
    return as_json(entries)


def _resolve(repository: Repository, asked: dict[str, str], commit: str, headers: Mapping[str, str]) -> Answer:
    if repository.gated:
        status = HTTPStatus.FORBIDDEN if "Authorization" in headers else HTTPStatus.UNAUTHORIZED
        return error(status, "GatedRepo", f"Access to model {asked['id']} is restricted.")
    content = repository.commits[commit].get(asked["file"])
    if content is None:
        answer = error(HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found")
        answer.headers["X-Repo-Commit"] = commit
        return answer
    described = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if asked["file"].endswith(_LARGE):
        described["X-Linked-Size"] = str(len(content))
        described["ETag"] = described["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
    else:
        described["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
    part = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range", ""))
    if part is None:
        return Answer(HTTPStatus.OK, described, content)
    first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
    if first >= len(content):
        return Answer(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {**described, "Content-Range": f"bytes */{len(content)}"}
        )
    described["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
    return Answer(HTTPStatus.PARTIAL_CONTENT, described, content[first : last + 1])
