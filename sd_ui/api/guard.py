"""The one door in front of everything: the page, Gradio's routes, our own and MCP. Who asks, from where, how much; and what every answer carries."""

import re
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sd_ui.api.hosts import Hosts, refusal
from sd_ui.api.login import (
    SESSION_COOKIE,
    SESSION_SECONDS,
    Logins,
    TooManyFailuresError,
    WrongLoginError,
    basic,
    network_of,
    page,
)
from sd_ui.jobs.owners import OWNER_COOKIE, is_cookie, new_cookie, owner_of
from sd_ui.settings import Settings

YEAR = 365 * 24 * 3600
SAFE = ("GET", "HEAD", "OPTIONS")
MCP = "/gradio_api/mcp"
STARTUP = "/gradio_api/startup-events"  # Gradio asks itself for it while it starts, without a login; it tells and changes nothing
FOREIGN_FILE = re.compile(r"/gradio_api/(file[=/]\s*https?:|proxy=)", re.IGNORECASE)  # Gradio would fetch it for any visitor
LOGIN_BYTES = 10_000
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors "
)  # Gradio's page starts from inline scripts and compiles its templates, hence the two unsafe words
LOGIN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors "


@dataclass(frozen=True)
class Rules:
    """logins None: nobody is asked. space: the page stands in a frame of huggingface.co."""

    hosts: Hosts
    logins: Logins | None = None
    max_body: int = 100_000_000
    mcp: bool = False
    space: bool = False
    root_path: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        public = [*settings.allowed_host, *filter(None, [settings.space, urlsplit(settings.root_path).hostname])]
        hosts = Hosts(settings.host, public, on_space=bool(settings.space))
        logins = Logins(settings.logins) if settings.auth else None
        return cls(hosts, logins, settings.max_request_mb * 1_000_000, settings.mcp, bool(settings.space), settings.root_path)

    def url(self, path: str) -> str:
        return urlsplit(self.root_path).path.rstrip("/") + path

    @property
    def frames(self) -> str:
        return "'self' https://huggingface.co https://*.huggingface.co" if self.space else "'none'"


class Guard:
    """ASGI middleware. Behind it, scope["state"]["owner"] says whose request it is."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        asked = HTTPConnection(scope)
        dressed = partial(_send_dressed, send, self._cookies(scope, asked), self.rules)
        answer = self._refusal(asked) or await self._login(asked, receive)
        if answer is not None:
            return await _answer(answer, scope, receive, dressed)
        await Capped(receive, dressed, self.rules.max_body).run(self.app, scope)

    def _refusal(self, asked: HTTPConnection) -> Response | None:
        path, method = asked.scope["path"], asked.scope.get("method", "GET")
        effects = method not in SAFE or path.rstrip("/") == "/logout" or asked.scope["type"] == "websocket"
        if why := refusal(asked.headers, self.rules.hosts, effects):
            return _said(403, why)
        if path.startswith(MCP) and not self.rules.mcp:
            return _said(403, "mcp: is switched off; start the server with --mcp to allow it")
        if FOREIGN_FILE.match(path):
            return _said(403, "file: pictures of other servers are not fetched; upload the picture")
        if _length(asked.headers) > self.rules.max_body:
            return _too_large(self.rules.max_body)
        return None

    # ------------------------------------------------------------ whose request it is
    def _cookies(self, scope: Scope, asked: HTTPConnection) -> list[str]:
        """Puts the owner into the scope. What comes back is to be set in the browser."""
        known = asked.cookies.get(OWNER_COOKIE, "")
        secret = known if is_cookie(known) else new_cookie()
        scope.setdefault("state", {})["owner"] = owner_of(secret)
        if secret == known:
            return []
        if known:  # a browser does not choose its own: who reads the cookie behind us finds the new one
            sent = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
            others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
            scope["headers"] = [*others, (b"cookie", sent + f"; {OWNER_COOKIE}={secret}".encode())]
        return [self._cookie(asked, OWNER_COOKIE, secret, YEAR)]

    def _cookie(self, asked: HTTPConnection, name: str, value: str, seconds: int) -> str:
        secure = asked.scope.get("scheme") in ("https", "wss") or self.rules.hosts.is_shared(asked.headers.get("host", ""))
        flags = "; Secure; SameSite=None; Partitioned" if self.rules.space else "; Secure; SameSite=Lax" if secure else "; SameSite=Lax"
        return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly{flags}"

    # ------------------------------------------------------------ login
    async def _login(self, asked: HTTPConnection, receive: Receive) -> Response | None:
        """None: come in."""
        path, method = asked.scope["path"].rstrip("/"), asked.scope.get("method")
        if path == "/login" and method == "POST":
            return await self._enter(asked, receive)
        if path == "/logout":
            return self._leave(asked)
        if self.rules.logins is None:
            return RedirectResponse(self.rules.url("/"), 303) if path == "/login" else None
        if path == "/login":
            return self._login_page()
        if path == STARTUP and method == "GET":
            return None
        return self._identified(self.rules.logins, asked)

    def _identified(self, logins: Logins, asked: HTTPConnection) -> Response | None:
        if logins.user_of(asked.cookies.get(SESSION_COOKIE, "")):
            return None
        pair = basic(asked.headers.get("authorization", ""))
        if pair is not None:
            try:
                logins.check(*pair, self._key(asked, pair[0]))
            except (WrongLoginError, TooManyFailuresError) as error:
                return _denied(error)
            return None
        if "text/html" in asked.headers.get("accept", "") and asked.scope.get("method") == "GET":
            return RedirectResponse(self.rules.url("/login"), 303, headers={"Cache-Control": "no-store"})
        return _said(401, "this server asks for a password: log in at /login, or send HTTP Basic")

    async def _enter(self, asked: HTTPConnection, receive: Receive) -> Response:
        browser = "text/html" in asked.headers.get("accept", "")
        if self.rules.logins is None:
            return RedirectResponse(self.rules.url("/"), 303) if browser else JSONResponse({"success": True})
        form = await _form(asked.scope, receive)
        user, password = form.get("username", "").strip(), form.get("password", "")
        try:
            token = self.rules.logins.enter(user, password, self._key(asked, user))
        except (WrongLoginError, TooManyFailuresError) as error:
            denied = _denied(error)
            return self._login_page(_why(error), denied.status_code) if browser else denied
        entered = RedirectResponse(self.rules.url("/"), 303) if browser else JSONResponse({"success": True})
        entered.headers.append("set-cookie", self._cookie(asked, SESSION_COOKIE, token, SESSION_SECONDS))
        return entered

    def _leave(self, asked: HTTPConnection) -> Response:
        if self.rules.logins is not None:
            self.rules.logins.leave(asked.cookies.get(SESSION_COOKIE, ""))
        left = RedirectResponse(self.rules.url("/"), 303)
        left.headers.append("set-cookie", self._cookie(asked, SESSION_COOKIE, "", 0))
        return left

    def _login_page(self, said: str = "", status: int = 200) -> Response:
        headers = {"Content-Security-Policy": LOGIN_POLICY + self.rules.frames, "Cache-Control": "no-store"}
        return HTMLResponse(page(self.rules.url("/login"), said), status, headers)

    def _key(self, asked: HTTPConnection, user: str) -> str:
        """By whom wrong passwords are counted: by address, or by user where a share link gives all the world one address."""
        if self.rules.hosts.is_shared(asked.headers.get("host", "")):
            return f"user {user[:100]}"
        return network_of(asked.client.host if asked.client else "")


class Capped:
    """A request whose body is counted as it comes. One that grows too large gets 413, whatever the app makes of the cut-off body."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._limit = receive, send, limit
        self._seen, self._started, self._cut = 0, False, False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except ClientDisconnect:
            if not self._cut:
                raise
        if self._cut and not self._started:
            await _too_large(self._limit)(scope, self._receive, self._send)

    async def receive(self) -> Message:
        message = {"type": "http.disconnect"} if self._cut else await self._receive()
        self._seen += len(message.get("body") or b"") if message["type"] == "http.request" else 0
        self._cut = self._cut or self._seen > self._limit
        return {"type": "http.disconnect"} if self._cut else message

    async def send(self, message: Message) -> None:
        if self._cut and not self._started:
            return  # what the app says about half a body
        self._started = True
        await self._send(message)


# ---------------------------------------------------------------- answers
async def _send_dressed(send: Send, cookies: list[str], rules: Rules, message: Message) -> None:
    if message["type"] == "http.response.start":
        message = {**message, "headers": list(message.get("headers", ()))}
        headers = MutableHeaders(raw=message["headers"])
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Referrer-Policy", "same-origin")  # stricter ones make browsers send "Origin: null" with our own login form
        headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        headers.setdefault("Content-Security-Policy", POLICY + rules.frames)
        if not rules.space:
            headers["X-Frame-Options"] = "DENY"
        for cookie in cookies:
            headers.append("set-cookie", cookie)
    await send(message)


async def _answer(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await answer(scope, receive, send)


async def _form(scope: Scope, receive: Receive) -> dict[str, str]:
    """The fields of the login form; none where it is no form, or far too long for one."""
    body = b""
    async for chunk in Request(scope, receive).stream():
        body += chunk
        if len(body) > LOGIN_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _denied(error: WrongLoginError | TooManyFailuresError) -> Response:
    if isinstance(error, TooManyFailuresError):
        return _said(429, _why(error), {"Retry-After": str(error.seconds)})
    return _said(401, _why(error), {"WWW-Authenticate": 'Basic realm="SD UI"'})


def _why(error: WrongLoginError | TooManyFailuresError) -> str:
    return f"{error}." if isinstance(error, TooManyFailuresError) else "User or password is wrong."


def _said(status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": why}, status, {"Cache-Control": "no-store", **(headers or {})})


def _too_large(limit: int) -> Response:
    return _said(413, f"the request is larger than this server allows ({limit / 1e6:g} MB)", {"Connection": "close"})


def _length(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 20 else 0
