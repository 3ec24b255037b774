"""A server on this machine that speaks what `huggingface_hub` asks of the Hugging Face Hub.

Only what pushing and pulling a model repository needs: repositories, commits with small files
inside and large ones by Git LFS, lists of files, and downloads. Every commit is kept.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub")
TOKEN, READ_ONLY = "hf_may_write", "hf_may_read"


@dataclass
class Repository:
    """A repository: its files by commit, the newest last."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit({".gitattributes": b"*.keras filter=lfs\n"})

    @property
    def newest(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.newest]

    def commit(self, files: dict[str, bytes]) -> str:
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[name] = files
        return name


@dataclass
class LocalHub:
    """The server's state; tests read it, and change it to see what happens."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    max_bytes: int = 10_000_000
    large: tuple[str, ...] = (".keras", ".png")  # what goes by Git LFS
    requests: list[str] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def log_message(self, *args: Any) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, value: Any = None, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
        self.send_response(status)
        length = headers.pop("length", str(len(content)))
        for name, text in {"Content-Length": length, **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self, status: int, message: str, code: str = "") -> None:
        more = {"X_Error_Code": code} if code else {}
        self._answer(status, {"error": message}, X_Error_Message=message, **more)

    @property
    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _find(self, name: str) -> Repository | None:
        """Return a repository that the token may see, or answer as the Hub does."""
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self._token not in (TOKEN, READ_ONLY)):
            self._refuse(401 if not self._token else 404, "Repository not found", "RepoNotFound")
            return None
        return found

    def _may_write(self) -> bool:
        if self._token == TOKEN:
            return True
        self._refuse(403 if self._token == READ_ONLY else 401, "Write access is needed")
        return False

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", path):
            self._preupload(found[1], json.loads(body))
        elif found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            self._batch(json.loads(body))
        elif found := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._refuse(404, f"no {path}")

    def _create(self, wanted: dict[str, Any]) -> None:
        if not self._may_write():
            return None
        name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
        answer = {"url": f"{self.hub.url}/{name}", "name": name}
        if name in self.hub.repositories:
            return self._answer(409, answer)
        is_private = wanted.get("private") or wanted.get("visibility") == "private"
        self.hub.repositories[name] = Repository(private=bool(is_private))
        return self._answer(200, answer)

    def _preupload(self, name: str, wanted: dict[str, Any]) -> None:
        if self._find(name) is None or not self._may_write():
            return None
        if any(file["size"] > self.hub.max_bytes for file in wanted["files"]):
            return self._refuse(413, "Payload too large")
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(self.hub.large) else "regular",
                "shouldIgnore": False,
            }
            for file in wanted["files"]
        ]
        return self._answer(200, {"files": modes})

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}"}},
            }
            for each in wanted["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def do_PUT(self) -> None:
        self.hub.objects[self.path.rpartition("/")[2]] = self._body()
        self._answer(200)

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository = self._find(name)
        if repository is None or not self._may_write():
            return
        files = dict(repository.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        oid = repository.commit(files)
        url = f"{self.hub.url}/{name}/commit/{oid}"
        self._answer(200, {"success": True, "commitOid": oid, "commitUrl": url})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        for pattern, answer in (
            (r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self._describe),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?(?:.*)", self._list),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._send),
        ):
            if found := re.fullmatch(pattern, path):
                repository = self._find(found[1])
                if repository is None:
                    return None
                wanted = found[2] if found.lastindex and found.lastindex > 1 else None
                commit = repository.newest if wanted in (None, "main") else wanted
                if commit not in repository.commits:
                    return self._refuse(404, "no such revision", "RevisionNotFound")
                return answer(found[1], repository, commit, found)
        return self._refuse(404, f"no {path}")

    def _describe(self, name: str, repository: Repository, commit: str, _: Any) -> None:
        value = {"id": name, "sha": commit, "private": repository.private, "siblings": []}
        self._answer(200, value)

    def _list(self, name: str, repository: Repository, commit: str, _: Any) -> None:
        rows = [
            {"type": "file", "path": path, "size": len(content), "oid": _hash(content)}
            for path, content in repository.commits[commit].items()
        ]
        self._answer(200, json.loads(json.dumps(rows)) or [])

    def _send(self, name: str, repository: Repository, commit: str, found: Any) -> None:
        content = repository.commits[commit].get(found[3])
        if content is None:
            return self._refuse(404, "no such file", "EntryNotFound")
        return self._answer(200, content, ETag=f'"{_hash(content)}"', X_Repo_Commit=commit)


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serve_hub(*, token: str | None = TOKEN) -> Iterator[LocalHub]:
    """Yield a hub on this machine that huggingface_hub talks to, with a token of the user's."""
    hub = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    constants = huggingface_hub.constants
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "ENDPOINT", hub.url)
            patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            patch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its own storage, not of the Hub
            patch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
            for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
                patch.delenv(name, raising=False)
            if token is not None:
                patch.setenv("HF_TOKEN", token)
            yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
