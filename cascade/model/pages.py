"""What is said of the page of a run: where it is served, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

DEFAULT_ADDRESS: Final = "127.0.0.1:0"
_HIGHEST_PORT: Final = 65535


def _parted(address: str) -> tuple[str, int]:
    """Host and port of *address*; a host in brackets is one of IPv6."""
    host, separator, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        separator = ""
    host = "127.0.0.1" if host == "localhost" else host
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > _HIGHEST_PORT or not _is_ip(host):
        raise ValueError(
            f"the address of a page is IP:PORT, such as 127.0.0.1:8080, or [::1]:8080, not {address!r:.100}; "
            "port 0 takes a free one"
        )
    return host, int(port)


def _is_ip(host: str) -> bool:
    from ipaddress import ip_address  # here, as few runs have a page

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@attrs.frozen
class Page:
    """A page that shows a run in a browser, and steers it, while it goes on: ``run(..., page=Page(...))``.

    Whoever has a link to the page may look at it. A link can be opened once; the browser that has opened it stays
    known until the page ends, which is when the run ends. The connection is not encrypted.

    Args:
        address: ``"IP:PORT"``; ``"127.0.0.1:0"`` by default. Port 0 takes a free one. ``localhost`` is 127.0.0.1.
        read_only: Whether it only shows, and has no buttons to pause, limit or cancel, nor to send signals. False
            by default.
        allow_remote: Whether *address* may be one that other computers can reach. They then see whatever the page
            shows, and steer the run, if they have a link or overhear somebody who has. False by default.
        metrics: Whether ``/metrics`` gives numbers in the text format of Prometheus, without a link: whoever
            reaches the address can read them. They have names of tasks, and no values. False by default.
        on_link: Is called with a link when the page is ready, and with the next one when that has been opened.
            It must not wait. ``None`` (default): ask ``Run.page_link()``.

    Attributes:
        host: The IP address in *address*.
        port: The port in *address*; 0 for a free one.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If *address* is malformed, or can be reached from other computers without *allow_remote*.
    """

    address: str = DEFAULT_ADDRESS
    read_only: bool = attrs.field(default=False, kw_only=True)
    allow_remote: bool = attrs.field(default=False, kw_only=True)
    metrics: bool = attrs.field(default=False, kw_only=True)
    on_link: Callable[[str], object] | None = attrs.field(default=None, kw_only=True)

    host: str = attrs.field(init=False, repr=False)
    port: int = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.address, str):
            raise TypeError(f"the address of a page is text, IP:PORT, not {self.address!r:.100}")
        if self.on_link is not None and not callable(self.on_link):
            raise TypeError(f"on_link is a function that takes a link, not {self.on_link!r:.100}")
        host, port = _parted(self.address)
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "port", port)
        if not self.is_loopback and not self.allow_remote:
            raise ValueError(
                f"other computers can reach {host}, and so could see and steer the run; "
                "say allow_remote=True if that is meant, or take 127.0.0.1"
            )

    @property
    def is_loopback(self) -> bool:
        """Whether no other computer can reach it."""
        from ipaddress import ip_address  # here, as few runs have a page

        return ip_address(self.host).is_loopback


def as_page(value: Any) -> Page | None:
    """*value* as a page: an address, a :class:`Page`, or ``None`` for none.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the address is malformed, or other computers can reach it.
    """
    if value is None or isinstance(value, Page):
        return value
    if isinstance(value, str):
        return Page(value)
    raise TypeError(f'page is an address such as "127.0.0.1:0", a cascade.Page, or None, not {value!r:.100}')
