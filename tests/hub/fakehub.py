"""A hub of a few bytes on this machine, which speaks as huggingface.co does, and fails as it is told to."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1000  # bytes from which a file has a sha256, as with Git LFS


@dataclass
class FakeHub:
    """repositories: id -> file name -> bytes. cuts: bytes after which a connection breaks, for the next answers. gated: ids.

    lies: what the bytes of a file are when they come. asked: every request's path, range and authorization.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    gated: set[str] = field(default_factory=set)
    lies: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    held: threading.Event | None = None  # nothing more of a file comes until it is set
    whole: bool = False  # knows no parts of files
    status: int = 0  # what it answers to everything
    endpoint: str = ""
    elsewhere: str = ""  # another server that the large files lie on

    def ranges(self, name: str) -> list[str]:
        return [part for path, part, _ in self.asked if path.endswith(name)]


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((path, self.headers.get("Range") or "", self.headers.get("Authorization") or ""))
        if self.hub.status:
            return self.refuse(self.hub.status)
        if path.startswith("/api/models/"):
            return self.tell(path.removeprefix("/api/models/"))
        owner, name, _, commit, *file = path.strip("/").split("/")
        self.give(f"{owner}/{name}", commit, "/".join(file))

    def tell(self, asked: str) -> None:
        id_, _, revision = asked.partition("/revision/")
        if id_ not in self.hub.repositories:
            return self.refuse(401, "RepoNotFound")
        if revision not in ("", "main", "fp16", COMMIT):
            return self.refuse(404, "RevisionNotFound")
        files = self.hub.repositories[id_]
        said = {"id": id_, "sha": COMMIT, "gated": "auto" if id_ in self.hub.gated else False, "siblings": [entry(*item) for item in files.items()]}
        self.answer(200, json.dumps(said).encode())

    def give(self, id_: str, commit: str, name: str) -> None:
        if id_ in self.hub.gated and not self.headers.get("Authorization"):
            return self.refuse(403, "GatedRepo")
        data = self.hub.repositories.get(id_, {}).get(name)
        if data is None or commit != COMMIT:
            return self.refuse(404, "EntryNotFound")
        if self.hub.elsewhere and len(data) >= LARGE:
            return self.answer(302, b"", Location=self.hub.elsewhere + self.path)
        data = self.hub.lies.get(name, data)
        begin, _, end = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        if self.headers.get("Range") and not self.hub.whole:
            part = data[int(begin) : int(end) + 1 if end else None]
            return self.answer(206, part, **{"Content-Range": f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}"})
        self.answer(200, data)

    def refuse(self, status: int, why: str = "") -> None:
        self.answer(status, b'{"error": "no"}', **({"X-Error-Code": why} if why else {}))

    def answer(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        cut = self.hub.cuts.pop(0) if self.hub.cuts and status in (200, 206) and "/resolve/" in self.path else len(data)
        self.wfile.write(data[: len(data) // 2 if self.hub.held and len(data) >= LARGE else cut])
        if self.hub.held and len(data) >= LARGE:
            self.wfile.flush()
            self.hub.held.wait(20)
            self.wfile.write(data[len(data) // 2 :])
        if cut < len(data):
            self.close_connection = True


def entry(name: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    said: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
    return said | ({"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}} if len(data) >= LARGE else {})
