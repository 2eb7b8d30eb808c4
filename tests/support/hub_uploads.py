"""The local hub, taking uploads too: what `create_repo`, `create_branch` and `upload_folder` ask for.

Small files come inside the commit, large ones first through LFS: batch, PUT of each blob, verify. A blob that is not
what its name says, or a commit that refers to one that never arrived, is refused as the real hub does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from support.hub_server import Answer, HubServer, Repository, as_json, error

_ID = r"(?P<id>[^/]+/[^/]+)"
_BLOB = re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})")
_ROUTES = {
    "create": re.compile(r"/api/repos/create"),
    "validate": re.compile(r"/api/validate-yaml"),
    "branch": re.compile(rf"/api/models/{_ID}/branch/(?P<revision>[^/]+)"),
    "preupload": re.compile(rf"/api/models/{_ID}/preupload/(?P<revision>[^/]+)"),
    "batch": re.compile(rf"/{_ID}\.git/info/lfs/objects/batch"),
    "verify": re.compile(r"/lfs/verify"),
    "commit": re.compile(rf"/api/models/{_ID}/commit/(?P<revision>[^/]+)"),
}
_LFS_SUFFIXES = (".bin", ".safetensors", ".pt")
_LARGEST_REGULAR = 10 * 1024 * 1024


class UploadHubServer(HubServer):
    """A hub that whoever has `WRITER` may write to; `READER` may only read, other tokens are unknown.

    Attributes:
        blobs: What came through LFS, by SHA-256.
        verified: SHA-256 of the blobs that the client asked to have verified.
        messages: Message of every commit, in order.
        blob_answer: What to say to every blob instead of taking it.
    """

    WRITER = "hf_may_write"
    READER = "hf_may_only_read"

    def __init__(self) -> None:
        super().__init__()
        self.blobs: dict[str, bytes] = {}
        self.verified: list[str] = []
        self.messages: list[str] = []
        self.blob_answer: Answer | None = None

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        plain = urlsplit(path).path
        if method == "PUT" and (match := _BLOB.fullmatch(plain)):
            return self.blob_answer or self._take_blob(match["oid"], body)
        for name, pattern in _ROUTES.items():
            if method == "POST" and (match := pattern.fullmatch(plain)):
                asked = {key: unquote(value) for key, value in match.groupdict().items()}
                return _refused(headers) or self._post(name, asked, body)
        if method in ("GET", "HEAD") and self._hidden(plain) and _refused(headers):
            return error(HTTPStatus.UNAUTHORIZED, "RepoNotFound", "Repository not found")
        return super().answer(method, path, headers, body)

    def files(self, model: str, *, branch: str = "main") -> dict[str, bytes]:
        """What is at the head of a branch."""
        repository = self.repositories[model]
        return repository.commits[repository.refs[branch]]

    def _hidden(self, path: str) -> bool:
        return any(model in path for model, repository in self.repositories.items() if repository.private)

    def _post(self, name: str, asked: dict[str, str], body: bytes) -> Answer:
        if name == "commit":
            return self._commit(asked, [json.loads(line) for line in body.splitlines()])
        given = json.loads(body)
        if name == "create":
            return self._create(given)
        if name == "validate":
            return as_json({"errors": [], "warnings": []})
        if name == "verify":
            self.verified.append(given["oid"])
            right = len(self.blobs.get(given["oid"], b"")) == given["size"]
            return Answer(HTTPStatus.OK if right else HTTPStatus.NOT_FOUND)
        if asked["id"] not in self.repositories:
            return error(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found")
        if name == "branch":
            return self._branch(self.repositories[asked["id"]], asked["revision"])
        if name == "batch":
            return self._batch(given["objects"])
        return self._preupload(asked, given["files"])

    def _create(self, given: dict[str, Any]) -> Answer:
        model = f"{given['organization']}/{given['name']}"
        if model in self.repositories:
            told = {"error": "You already created this model repo", "url": f"{self.url}/{model}"}
            return replace(as_json(told), status=HTTPStatus.CONFLICT)
        # huggingface_hub 0.36 says private, 2 says visibility.
        private = given.get("private", False) or given.get("visibility") == "private"
        self.repositories[model] = Repository(private=private)
        self.commit(model, {".gitattributes": b"*.bin filter=lfs\n"}, branch="main")
        return as_json({"url": f"{self.url}/{model}", "name": model})

    def _branch(self, repository: Repository, name: str) -> Answer:
        if name in repository.refs:
            return error(HTTPStatus.CONFLICT, "RefExists", "Reference already exists")
        repository.refs[name] = repository.refs["main"]
        return Answer(HTTPStatus.OK)

    def _preupload(self, asked: dict[str, str], files: list[dict[str, Any]]) -> Answer:
        if asked["revision"] not in self.repositories[asked["id"]].refs:
            return error(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {asked['revision']}")
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["path"].endswith(_LFS_SUFFIXES) or file["size"] > _LARGEST_REGULAR
                else "regular",
                "shouldIgnore": False,
            }
            for file in files
        ]
        return as_json({"files": modes})

    def _batch(self, objects: list[dict[str, Any]]) -> Answer:
        described = []
        for thing in objects:
            actions = {
                "upload": {"href": f"{self.url}/lfs/{thing['oid']}", "header": {}},
                "verify": {"href": f"{self.url}/lfs/verify", "header": {}},
            }
            described.append({**thing, **({} if thing["oid"] in self.blobs else {"actions": actions})})
        return as_json({"transfer": "basic", "objects": described})

    def _take_blob(self, oid: str, body: bytes) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return error(HTTPStatus.BAD_REQUEST, "BadDigest", "The content is not what its name says")
        self.blobs[oid] = body
        return Answer(HTTPStatus.OK)

    def _commit(self, asked: dict[str, str], lines: list[dict[str, Any]]) -> Answer:
        files = dict(self.files(asked["id"], branch=asked["revision"]))
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile" and value["oid"] in self.blobs:
                files[value["path"]] = self.blobs[value["oid"]]
            else:
                return error(HTTPStatus.BAD_REQUEST, "BadRequest", f"Can't commit {line['key']}")
        commit = self.commit(asked["id"], files, branch=asked["revision"])
        return as_json({"success": True, "commitOid": commit, "commitUrl": f"{self.url}/{asked['id']}/commit/{commit}"})


def _refused(headers: Mapping[str, str]) -> Answer | None:
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    if token == UploadHubServer.WRITER:
        return None
    if token == UploadHubServer.READER:
        return error(HTTPStatus.FORBIDDEN, "Forbidden", "You don't have the rights to write there")
    return error(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Invalid credentials in Authorization header")
