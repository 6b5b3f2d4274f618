"""Who may come in, who has, and how often somebody may try."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SESSION_COOKIE = "sdui_session"
SESSION_SECONDS = 24 * 3600
MOST_SESSIONS = MOST_KEYS = 10_000  # a flood must not fill the memory
FREE_FAILURES, FIRST_WAIT, LONGEST_WAIT = 5, 60.0, 3600.0


class WrongLoginError(Exception):
    pass


class TooManyFailuresError(Exception):
    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many wrong passwords; try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True)
class Failures:
    count: int
    last: float

    @property
    def wait(self) -> float:
        """Five mistakes are free within a minute; then a minute, and twice as long after each further one."""
        return 0.0 if self.count < FREE_FAILURES else min(FIRST_WAIT * 2.0 ** min(self.count - FREE_FAILURES, 16), LONGEST_WAIT)


class Throttle:
    """Counts wrong passwords by key: an address, or a user where all the world has one address."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, Failures] = OrderedDict()

    def check(self, key: str) -> None:
        failures = self._of(key)
        left = failures.last + failures.wait - self._clock()
        if failures.wait and left > 0:
            raise TooManyFailuresError(int(left) + 1)

    def fail(self, key: str) -> None:
        self._failures[key] = Failures(self._of(key).count + 1, self._clock())
        self._failures.move_to_end(key)
        if len(self._failures) > MOST_KEYS:
            self._failures.popitem(last=False)

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)

    def _of(self, key: str) -> Failures:
        failures = self._failures.get(key, Failures(0, 0.0))
        quiet = self._clock() - failures.last
        return Failures(0, 0.0) if quiet > max(FIRST_WAIT, 2 * failures.wait) else failures


class Logins:
    """users: passwords by name. Sessions live in memory: a restart asks everybody again. Used from the event loop alone, so without locks."""

    def __init__(self, users: Mapping[str, str], clock: Callable[[], float] = time.monotonic) -> None:
        self._digests = {_bytes(user): _digest(password) for user, password in users.items()}
        self._clock = clock
        self._throttle = Throttle(clock)
        self._sessions: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def enter(self, user: str, password: str, key: str) -> str:
        """The token of a new session. Raises WrongLoginError or TooManyFailuresError."""
        self.check(user, password, key)
        token = secrets.token_urlsafe(32)
        self._sessions[_digest(token)] = (user, self._clock() + SESSION_SECONDS)
        if len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def check(self, user: str, password: str, key: str) -> None:
        """Takes the same time for a wrong password and an unknown user."""
        self._throttle.check(key)
        right = False
        for known, digest in self._digests.items():
            right |= hmac.compare_digest(known, _bytes(user)) & hmac.compare_digest(digest, _digest(password))
        if not right:
            self._throttle.fail(key)
            raise WrongLoginError
        self._throttle.forget(key)

    def user_of(self, token: str) -> str | None:
        """Whose session it is, while it lasts."""
        user, end = self._sessions.get(_digest(token), ("", 0.0))
        return user if user and self._clock() < end else None

    def leave(self, token: str) -> None:
        self._sessions.pop(_digest(token), None)


def basic(authorization: str) -> tuple[str, str] | None:
    """User and password of an Authorization header. Some clients send an empty one, or a Basic of nothing: that is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon and (user or password) else None


def network_of(address: str) -> str:
    """What counts as one address: a whole /64 where it is IPv6, since everybody has that many."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def page(action: str, said: str = "") -> str:
    """The login page, whole in itself. said: one of our own sentences, never what somebody entered."""
    return PAGE.replace("{action}", action).replace("{said}", f'<p role="alert">{said}</p>' if said else "")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _digest(text: str) -> bytes:
    return hashlib.sha256(_bytes(text)).digest()


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>SD UI: log in</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { min-height: 100vh; margin: 0; display: grid; place-items: center; }
form { display: grid; gap: .75rem; width: min(20rem, 90vw); }
h1 { font-size: 1.4rem; margin: 0; }
p { margin: 0; }
label { display: grid; gap: .25rem; font-size: .9rem; }
input, button { font: inherit; padding: .6rem; border-radius: .5rem; border: 1px solid #8888; }
button { background: #4f46e5; color: #fff; border: 0; cursor: pointer; }
p[role=alert] { color: light-dark(#b91c1c, #fca5a5); }
</style>
</head>
<body>
<form method="post" action="{action}">
<h1>SD UI</h1>
<p>This server asks for a password. It stands where the server was started.</p>
{said}
<label>User<input name="username" autocomplete="username" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button>
</form>
</body>
</html>
"""
