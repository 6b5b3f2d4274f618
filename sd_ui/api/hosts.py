"""Under which names browsers may reach this server, and which pages count as its own. Against DNS rebinding and pages that drive a local server."""

import re
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from sd_ui.kinds import is_address, is_loopback

NETLOC = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::(?P<port>\d{1,5}))?")
HERE = ("localhost", "127.0.0.1", "::1")
PLAIN_PORTS = (80, 443)  # what an address without a port may stand for
Place = tuple[str, int | None]


class Hosts:
    """host: what the server listens on. public: names that reverse proxies, a Space or a share link give it.

    on_space: the platform asks for health under names of its own, and a Space is public anyway: there every name is allowed.
    """

    def __init__(self, host: str, public: Iterable[str] = (), on_space: bool = False) -> None:
        self._public = set(public)
        self._shared: set[str] = set()
        self._names = {*HERE, host, *(() if is_loopback(host) else _names_of_this_machine())}
        self._any_address = not is_loopback(host)  # an address cannot be rebound: rebinding needs a name
        self._any = on_space

    def publish(self, url: str) -> None:
        """A share link is known only after the server has started."""
        self._shared.add((urlsplit(url).hostname or "").lower())

    def is_shared(self, netloc: str) -> bool:
        """Whether a request came by a share link, where all the world has one address."""
        place = place_of(netloc)
        return place is not None and place[0] in self._shared

    def knows(self, netloc: str) -> bool:
        place = place_of(netloc)
        if place is None or self._any:
            return self._any
        name = place[0]
        return name in self._names | self._public | self._shared or (self._any_address and is_address(name))

    def own(self, origin: str, netloc: str) -> bool:
        """Whether a page of this origin is a page of this server, which was asked for under netloc."""
        there, here = place_of_url(origin), place_of(netloc)
        if there is None:
            return False  # "null" too: sandboxed frames and files
        if here and there[0] == here[0]:
            return there[1] == here[1] or (here[1] is None and there[1] in PLAIN_PORTS)
        return there[0] in self._public | self._shared and there[1] in PLAIN_PORTS  # behind a proxy that rewrites Host


def refusal(headers: Headers, hosts: Hosts, effects: bool) -> str:
    """Why a request is not let in, "" where it is. effects: whether it changes something.

    Browsers tell where a request comes from; scripts say nothing, and need no protection from other pages.
    """
    netloc, origin, site = headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site")
    forwarded = headers.get("x-forwarded-host")
    for name in (netloc, *(forwarded.split(",")[:1] if forwarded is not None else ())):
        if not hosts.knows(name.strip()):
            return f"Host: {name.strip()[:100]!r} is not a name of this server; start it with --allowed-host to allow a further one"
    if origin is not None and not hosts.own(origin, netloc):
        return f"Origin: {origin[:100]!r} is another site; this server answers only its own pages"
    if effects and not _asked_here(headers, hosts, netloc):
        return "Sec-Fetch-Site: another site asks for a change; this server obeys only its own pages"
    if not effects and site not in (None, "same-origin", "none") and headers.get("sec-fetch-mode") != "navigate":
        return "Sec-Fetch-Site: another site asks for a part of this page; it may only link to it"
    return ""


def _asked_here(headers: Headers, hosts: Hosts, netloc: str) -> bool:
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    told = headers.get("origin") or headers.get("referer")  # older browsers, and all of them on plain http in a local network
    return told is None or hosts.own(told, netloc)


def place_of(netloc: str) -> Place | None:
    match = NETLOC.fullmatch(netloc.lower())
    if match is None:
        return None
    return match["name"].removeprefix("[").removesuffix("]").rstrip("."), int(match["port"]) if match["port"] else None


def place_of_url(url: str) -> Place | None:
    scheme, separator, rest = url.lower().partition("://")
    place = place_of(rest.partition("/")[0]) if separator and scheme in ("http", "https") else None
    return place and (place[0], place[1] or {"http": 80, "https": 443}[scheme])


def _names_of_this_machine() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local"}
