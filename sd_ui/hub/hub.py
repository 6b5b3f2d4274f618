"""Asks a hub over HTTP: what a repository holds, and the bytes of its files. It knows nothing of models, and nothing of the disk.

With urllib: huggingface_hub is switched off in this process (`sd_ui/__init__.py`), so that no library asks the network unless a person did.
"""

import json
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

import sd_ui
from sd_ui.hub.names import HOSTS, Wanted
from sd_ui.spec.errors import BadRequest

ENDPOINT = "https://huggingface.co"
PATIENCE = 15.0  # seconds without a byte after which a connection is given up
CHUNK = 2**20  # bytes between two looks at whether somebody has changed their mind
LONGEST = 32 * 2**20  # bytes of an answer that is not a file
COMMIT, SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
RIGHTS = "make a token at {endpoint}/settings/tokens, and start the program with HF_TOKEN=<token> in its environment"


class Cut(OSError):
    """The connection broke, or nothing comes: what is there so far is good, and the rest may come later."""


@dataclass(frozen=True)
class RemoteFile:
    """size: bytes. sha256: of its bytes, "" for small files, which git names itself: blob is its sha1 of "blob <size>", a zero byte and the bytes."""

    name: str
    size: int
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Repository:
    """commit: what the revision means now, so that all files are of one state. gated: whether its owner asks for agreement."""

    id: str
    commit: str
    files: tuple[RemoteFile, ...]
    gated: bool = False


@dataclass(frozen=True)
class Hub:
    """token: a person's secret, sent to the endpoint alone. offline: the user has said that nothing may be asked."""

    endpoint: str = ENDPOINT
    token: str = ""
    offline: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Hub":
        """By the variables of huggingface_hub: HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH, HF_HOME."""
        endpoint = environ.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT
        return cls(endpoint, environ.get("HF_TOKEN", "").strip() or _kept_token(environ), sd_ui.OFFLINE)

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or self.endpoint

    @property
    def hosts(self) -> tuple[str, ...]:
        """Whose addresses name its models."""
        return tuple(dict.fromkeys((*HOSTS[:1], self.host, *HOSTS))) if self.endpoint == ENDPOINT else (self.host, *HOSTS)

    def repository(self, wanted: Wanted) -> Repository:
        """Raises BadRequest("hub") in words that say what to do."""
        revision = f"/revision/{quote(wanted.revision, safe='')}" if wanted.revision else ""
        try:
            with closing(self._opened(f"{self.endpoint}/api/models/{wanted.id}{revision}?blobs=true", wanted)) as answer:
                return _repository(wanted, json.loads(b"".join(_chunks(answer, LONGEST))))
        except Cut as error:
            raise BadRequest("hub", self._unreachable(error)) from error
        except (ValueError, RecursionError) as error:
            raise error if isinstance(error, BadRequest) else BadRequest("hub", f"{self.host} answers something that is not understood") from error

    def start_of(self, repository: Repository, file: RemoteFile, length: int) -> bytes:
        """Its first bytes, for a look before all of it is fetched. Raises BadRequest("hub")."""
        try:
            _, chunks = self.stream(repository, file, 0, length)
            return b"".join(chunks)[:length]
        except Cut as error:
            raise BadRequest("hub", self._unreachable(error)) from error

    def stream(self, repository: Repository, file: RemoteFile, begin: int, length: int = 0) -> tuple[int, Generator[bytes, None, None]]:
        """The byte at which the answer really begins, and its bytes. length: 0 for all the rest. Raises Cut, BadRequest("hub")."""
        url = f"{self.endpoint}/{repository.id}/resolve/{repository.commit}/{quote(file.name)}"
        part = {"Range": f"bytes={begin}-{begin + length - 1 if length else ''}"} if begin or length else {}
        answer = self._opened(url, Wanted(repository.id), part)
        if answer.status != 206:
            return 0, _chunks(answer, length or file.size + 1)
        if not (answer.headers.get("Content-Range") or "").startswith(f"bytes {begin}-"):
            answer.close()
            raise Cut(f"{self.host} sent another part of {file.name} than was asked for")
        return begin, _chunks(answer, length or file.size - begin + 1)

    def _opened(self, url: str, wanted: Wanted, headers: Mapping[str, str] | None = None) -> HTTPResponse:
        """To be closed. Raises Cut, BadRequest."""
        if self.offline:
            raise BadRequest("hub", "HF_HUB_OFFLINE is set, so nothing is asked of the network; unset it and start the program again")
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        asked = urllib.request.Request(url, headers={"User-Agent": f"sd-ui/{sd_ui.__version__}", **own, **(headers or {})})
        try:
            answer: HTTPResponse = urllib.request.build_opener(_Redirects).open(asked, timeout=PATIENCE)
            return answer
        except urllib.error.HTTPError as error:
            error.close()
            raise self._refused(error, wanted) from error
        except (OSError, HTTPException) as error:
            raise error if isinstance(error, Cut) else Cut(_reason(error)) from error

    def _refused(self, error: urllib.error.HTTPError, wanted: Wanted) -> Exception:
        said = error.headers.get("X-Error-Code") or ""
        page, rights = f"{self.endpoint}/{wanted.id}", RIGHTS.format(endpoint=self.endpoint)
        if error.code >= 500 or error.code in (408, 429):
            return Cut(f"{self.host} is busy (it answers {error.code})")
        if said == "GatedRepo" or error.code == 403:
            with_token = "the token in HF_TOKEN does not allow it yet" if self.token else f"{rights}"
            return BadRequest("hub", f"the owner of {wanted.id} asks for agreement: open {page} and agree there; {with_token}")
        if said == "RevisionNotFound":
            return BadRequest("hub", f"{wanted.id} has no revision {wanted.revision or 'main'}")
        if said == "EntryNotFound":
            return BadRequest("hub", f"a file of {wanted.id} is not there any more; ask for the model anew")
        if error.code in (401, 404):
            return BadRequest("hub", f"{wanted.id} is not on {self.host}, or it is private. If you may see it, {rights}")
        return BadRequest("hub", f"{self.host} refuses {wanted.id} (it answers {error.code})")

    def _unreachable(self, error: Cut) -> str:
        return f"{self.host} cannot be reached: {error}. Is this machine online?"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Files lie on other hosts than the hub's: the token stays behind, and nothing goes on without encryption that began with it."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme != "https" and old.scheme == "https":
            raise Cut("it leads to an address without encryption")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            request.remove_header("Authorization")
        return request


def _chunks(answer: HTTPResponse, most: int) -> Generator[bytes, None, None]:
    """As they come, at most so many bytes. Raises Cut."""
    with answer:
        try:
            while most > 0 and (chunk := answer.read1(min(CHUNK, most))):
                most -= len(chunk)
                yield chunk
        except (OSError, HTTPException) as error:
            raise Cut(_reason(error)) from error


def _repository(wanted: Wanted, data: Any) -> Repository:
    """Raises ValueError for what is not the description of a repository."""
    if not isinstance(data, dict) or not COMMIT.fullmatch(str(data.get("sha"))) or not isinstance(data.get("siblings"), list):
        raise ValueError("not a repository")
    files = tuple(_file(entry) for entry in data["siblings"])
    return Repository(wanted.id, data["sha"], files, data.get("gated") not in (False, None, ""))


def _file(entry: Any) -> RemoteFile:
    """Raises ValueError."""
    if not isinstance(entry, dict) or not isinstance(lfs := entry.get("lfs") or {}, dict):
        raise ValueError("not a file")
    name, size, sha256, blob = entry.get("rfilename"), lfs.get("size") or entry.get("size") or 0, lfs.get("sha256") or "", entry.get("blobId") or ""
    hashed = SHA256.fullmatch(str(sha256)) if sha256 else COMMIT.fullmatch(str(blob))
    if not isinstance(name, str) or type(size) is not int or size < 0 or not hashed:
        raise ValueError("not a file")
    return RemoteFile(name, size, sha256, "" if sha256 else blob)


def _kept_token(environ: Mapping[str, str]) -> str:
    """What `hf auth login` has left."""
    home = Path(environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or Path("~/.cache")) / "huggingface")
    try:
        return Path(environ.get("HF_TOKEN_PATH") or home / "token").expanduser().read_text("ascii").strip()
    except (OSError, ValueError, RuntimeError):
        return ""


def _reason(error: Exception) -> str:
    """Why a connection failed, without the jargon of three libraries."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    match inner:
        case TimeoutError():
            return f"no answer for {PATIENCE:.0f} seconds"
        case socket.gaierror():
            return "its name is not known here"
        case ssl.SSLCertVerificationError():
            return "its certificate is not trusted by this Python (on macOS: run 'Install Certificates.command')"
        case OSError(strerror=str(said)):
            return said
    return str(inner) or type(inner).__name__
