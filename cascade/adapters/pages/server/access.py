"""Who may ask the page for something.

A link holds a key that can be used once, for a cookie that the browser keeps. Pages of other origins can send
requests to this one, but cannot read its answers, nor send its cookie (``SameSite=Strict``) or a header of its
own. A name of theirs that is made to lead here (DNS rebinding) stands in ``Host``, where it is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections import deque
from typing import Final

import attrs

from cascade.adapters.pages.server.messages import Answer, Request, text

# Bytes of chance in a key.
_STRENGTH: Final = 32
# Links that have not been opened; an older one is forgotten when there are more.
_MOST_LINKS: Final = 16
# Where HTTP is served if no port is named.
_USUAL_PORT: Final = "80"
CSRF_HEADER: Final = "x-cascade-csrf"


def _key() -> str:
    return secrets.token_urlsafe(_STRENGTH)


def _is_same(given: str, key: str) -> bool:
    """Compares in a time that does not tell where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode())


@attrs.define(eq=False)
class Access:
    """The keys of one page.

    Attributes:
        host: The IP address at which it listens.
        port: Its port.
        is_remote: Whether other computers can reach it.
        csrf: What a request that changes something has to say in a header; it stands in the page.
    """

    host: str
    port: int
    is_remote: bool = False
    csrf: str = attrs.field(factory=_key)
    _session: str = attrs.field(factory=_key)
    _links: deque[str] = attrs.field(factory=lambda: deque(maxlen=_MOST_LINKS))

    @property
    def origin(self) -> str:
        """The address, as it stands in links."""
        return f"http://{self._shown_host()}:{self.port}"

    def new_link(self) -> str:
        """A link that can be opened once."""
        key = _key()
        self._links.append(key)
        return f"{self.origin}/?key={key}"

    def refusal(self, request: Request) -> Answer | None:
        """Why *request* is not answered, whoever sends it; ``None`` if it may be."""
        host = request.headers.get("host", "")
        if not self._is_ours(host):
            return text(421, f"this is not {host!r:.100}; the page is at {self.origin}")
        return None

    def opened(self, request: Request, start: str) -> Answer:
        """The answer to a *request* with the key of a link, which is used up by it; it leads on to *start*."""
        given = request.query.get("key", "")
        if self.is_known(request):
            return text(303, "known already", location=start)
        # All are compared, whichever it is.
        found = [key for key in self._links if _is_same(given, key)]
        if not found:
            return text(403, "this link has been opened before, or never was one; take a new one")
        self._links.remove(found[0])
        cookie = f"{self._cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        return text(303, "welcome", location=start, set_cookie=cookie)

    def is_known(self, request: Request) -> bool:
        """Whether *request* comes from a browser that has opened a link."""
        return _is_same(request.cookies.get(self._cookie, ""), self._session)

    def may_change(self, request: Request) -> bool:
        """Whether *request* comes from the page itself, and not from another that knows its address."""
        origin = request.headers.get("origin")
        if origin is not None and not _is_same_origin(origin, request.headers.get("host", "")):
            return False
        return _is_same(request.headers.get(CSRF_HEADER, ""), self.csrf)

    @property
    def _cookie(self) -> str:
        return f"cascade-{self.port}"  # cookies do not tell ports apart

    def _shown_host(self) -> str:
        if not self.is_remote:
            host = self.host
        elif ipaddress.ip_address(self.host).is_unspecified:
            host = socket.gethostname()
        else:
            host = self.host
        return f"[{host}]" if ":" in host else host

    def _is_ours(self, given: str) -> bool:
        """Whether *given*, a ``Host``, leads here without anybody else's help.

        A name can be made to lead here by whoever owns it; an IP address cannot.
        """
        host, port = _host_and_port(given)
        if port != str(self.port):
            return False
        names = {"localhost", self._shown_host().lower()}
        if not self.is_remote:
            return host.lower() in names
        return host.lower() in names or _is_ip(host)


def _is_same_origin(origin: str, host: str) -> bool:
    """Whether *origin* is that of the page which is reached as *host*."""
    scheme, _, rest = origin.partition("://")
    return scheme == "http" and _host_and_port(rest) == _host_and_port(host)


def _host_and_port(given: str) -> tuple[str, str]:
    """The two parts of a ``Host``; browsers leave the port out if it is that of HTTP."""
    host, colon, port = given.rpartition(":")
    return (given, _USUAL_PORT) if not colon or given.endswith("]") else (host, port)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
