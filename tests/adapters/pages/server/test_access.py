"""Who may ask the page, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from page_client import Browser, Nothing, served

import cascade
from cascade.adapters.pages.server.access import CSRF_HEADER, Access
from cascade.adapters.pages.server.messages import Request
from cascade.model.pages import Page

WAVE = json.dumps({"action": "wave"}).encode()


@pytest.mark.parametrize("target", ["/", "/run?id=one", "/updates", "/updates?id=one", "/act", "/metrics", "/no"])
async def test_who_has_opened_no_link_is_told_nothing(target: str) -> None:
    async with served() as page:
        reply = await page.browser.ask(target)

    assert reply.status == 403
    assert b"link" in reply.body
    assert b"one" not in reply.body.replace(b"once", b"")


@pytest.mark.parametrize("key", ["", "wrong", "%00", "a" * 5000, "\u00fc"])
async def test_a_wrong_key_is_refused(key: str) -> None:
    async with served() as page:
        reply = await page.browser.ask(f"/?key={key}") if key.isascii() else await page.browser.ask("/?key=%FC")

    assert reply.status == 403
    assert "set-cookie" not in reply.headers
    assert not page.used


async def test_a_link_opens_the_page_once() -> None:
    async with served() as page:
        link = page.access.new_link()
        first = await page.browser.open(link)
        known = await page.browser.ask("/run?id=other")
        second = await Browser(page.browser.port).open(link)

    assert (first.status, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "; HttpOnly" in cookie
    assert "; SameSite=Strict" in cookie
    assert link.partition("=")[2] not in cookie
    assert known.status != 403
    assert second.status == 403
    assert page.used == [True]


async def test_a_browser_that_is_known_may_open_a_link_that_is_used_up() -> None:
    async with served() as page:
        link = page.access.new_link()
        await page.browser.open(link)
        again = await page.browser.ask(link.partition(f":{page.browser.port}")[2])

    assert again.status == 303


@pytest.mark.parametrize("cookie", ["cascade={}", "cascade-1={}", "cascade-PORT=", "cascade-PORT=x", "x; y=z"])
async def test_another_cookie_does_not_help(cookie: str) -> None:
    async with served() as page:
        browser = await page.known()
        key = browser.cookie.partition("=")[2]
        browser.cookie = cookie.replace("PORT", str(browser.port)).replace("{}", key)

        assert (await browser.ask("/updates")).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:PORT",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:PORT",
        "[::1]:PORT",
        "@:PORT",
    ],
)
async def test_a_foreign_name_that_leads_here_is_refused(host: str) -> None:
    async with served(metrics=True) as page:
        browser = await page.known()
        for target in ("/updates", "/metrics", f"/?key={page.access.new_link().partition('=')[2]}"):
            reply = await browser.ask(target, host=host.replace("PORT", str(browser.port)))

            assert reply.status == 421
            assert "set-cookie" not in reply.headers


async def test_the_name_of_this_computer_for_itself_is_known() -> None:
    async with served() as page:
        browser = await page.known()

        assert (await browser.ask("/updates", host=f"LocalHost:{browser.port}")).status == 200


async def test_only_the_page_itself_can_change_something() -> None:
    async with served() as page:
        browser = await page.known()
        right = {CSRF_HEADER: page.access.csrf}
        own = f"http://127.0.0.1:{browser.port}"
        statuses = [
            (await browser.ask("/act?id=one", "POST", WAVE, **headers)).status
            for headers in (
                {}, {CSRF_HEADER: "wrong"}, {CSRF_HEADER: "\u00fc"}, {**right, "origin": "http://evil.example"},
                {**right, "origin": "null"}, {**right, "cookie": ""}, right, {**right, "origin": own},
            )
        ]  # fmt: skip

    assert statuses == [403, 403, 403, 403, 403, 403, 200, 200]
    assert page.source.done == [("one", "wave")] * 2


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"wave"', b"{}", b'{"action": 1}', b"\xff", b"[" * 60_000, b"1" * 60_000]
)
async def test_what_is_no_action_is_refused(body: bytes) -> None:
    async with served() as page:
        reply = await (await page.known()).ask("/act?id=one", "POST", body, **{CSRF_HEADER: page.access.csrf})

    assert reply.status == 400
    assert not page.source.done
    assert not page.errors


async def test_an_action_that_cannot_be_done_says_why() -> None:
    async with served() as page:
        body = b'{"action": "jump"}'
        reply = await (await page.known()).ask("/act?id=one", "POST", body, **{CSRF_HEADER: page.access.csrf})

    assert (reply.status, json.loads(reply.body)) == (409, {"error": "there is no action 'jump'"})


async def test_a_page_that_is_read_only_changes_nothing() -> None:
    async with served(read_only=True) as page:
        reply = await (await page.known()).ask("/act?id=one", "POST", WAVE, **{CSRF_HEADER: page.access.csrf})

    assert reply.status == 403
    assert not page.source.done


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/"),
        ("DELETE", "/act"),
        ("OPTIONS", "/act"),
        ("HEAD", "/"),
        ("TRACE", "/"),
        ("POST", "/"),
        ("GET", "/act"),
    ],
)
async def test_methods_that_a_path_does_not_take_are_refused(method: str, target: str) -> None:
    async with served() as page:
        reply = await (await page.known()).ask(target, method)

    assert reply.status == 405
    assert reply.headers["allow"] in ("GET", "POST", "GET, POST")


@pytest.mark.parametrize(
    "target",
    [
        "/../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/run/../act",
        "/page.css",
        "/run/",
        "/%2e%2e/",
        "*",
        "/run%00",
    ],
)
async def test_nothing_but_the_pages_can_be_reached(target: str) -> None:
    async with served() as page:
        reply = await (await page.known()).ask(target)

    assert reply.status == 404
    assert b"root:" not in reply.body


async def test_numbers_are_told_only_if_that_was_asked_for() -> None:
    async with served(metrics=True) as page:
        told = await page.browser.ask("/metrics")
    async with served() as page:
        kept = await (await page.known()).ask("/metrics")

    assert (told.status, told.body) == (200, b"nothing 1\n")
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert kept.status == 404


async def test_every_answer_forbids_what_no_answer_needs() -> None:
    async with served() as page:
        replies = [await page.browser.ask("/"), await (await page.known()).ask("/updates")]

    for reply in replies:
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in reply.headers


async def test_a_store_that_cannot_be_read_is_said_to_whoever_asks() -> None:
    class Lost(Nothing):
        async def runs(self) -> list[dict[str, Any]]:
            raise cascade.StateError("the SQLite file 'runs.db' cannot be read:\nit is locked")

    async with served(Lost()) as page:
        reply = await (await page.known()).ask("/")

    assert reply.status == 503
    assert reply.body == b"the SQLite file 'runs.db' cannot be read:\\nit is locked\n"
    assert not page.errors


async def test_an_error_of_the_page_is_told_and_ends_nothing() -> None:
    async with served() as page:
        browser = await page.known()
        reply = await browser.ask("/run?id=one")
        after = await browser.ask("/updates")

    assert reply.status == 500
    assert b"ZeroDivisionError" not in reply.body
    assert [type(error) for error in page.errors] == [ZeroDivisionError]
    assert after.status == 200


async def test_a_link_leads_to_the_run_that_it_is_about() -> None:
    async with served(Nothing(start="a b/c")) as page:
        reply = await page.browser.open(page.access.new_link())

    assert (reply.status, reply.headers["location"]) == (303, "/run?id=a%20b%2Fc")


async def test_the_list_leads_on_to_a_run_that_is_alone() -> None:
    async with served(Nothing(only="a b/c")) as page:
        reply = await (await page.known()).ask("/")

    assert (reply.status, reply.headers["location"]) == (303, "/run?id=a%20b%2Fc")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.168.0.1:80", "[::]:0", "[2001:db8::1]:0"])
def test_an_address_that_others_can_reach_has_to_be_allowed(address: str) -> None:
    with pytest.raises(ValueError, match=r"other computers can reach .* allow_remote=True"):
        Page(address)
    assert not Page(address, allow_remote=True).is_loopback


@pytest.mark.parametrize(
    "address",
    [
        "",
        "8080",
        ":8080",
        "example.org:80",
        "127.0.0.1",
        "127.0.0.1:x",
        "::1:80",
        "127.0.0.1:70000",
        "127.0.0.1:-1",
    ],
)
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="IP:PORT"):
        Page(address)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("localhost:80", "127.0.0.1", 80), ("[::1]:0", "::1", 0), ("127.0.0.2:9", "127.0.0.2", 9)],
)
def test_addresses_of_this_computer_alone_are_taken(address: str, host: str, port: int) -> None:
    page = Page(address)

    assert (page.host, page.port, page.is_loopback) == (host, port, True)


def test_where_others_can_reach_the_page_names_are_still_refused_and_addresses_are_not() -> None:
    access = Access("0.0.0.0", 80, is_remote=True)

    def is_refused(host: str) -> bool:
        return access.refusal(Request("GET", "/", {}, {"host": host})) is not None

    assert not is_refused("192.168.0.7:80")
    assert not is_refused("[2001:db8::1]:80")
    assert not is_refused("localhost:80")
    assert is_refused("evil.example:80")
    assert is_refused("192.168.0.7:81")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("form", ["{}", "{}:80"])
def test_a_page_on_port_80_knows_its_browser_which_names_no_port(address: str, form: str) -> None:
    access = Access(address, 80)
    host = form.format(f"[{address}]" if ":" in address else address)
    right = {"host": host, CSRF_HEADER: access.csrf}

    def may_change(origin: str) -> bool:
        return access.may_change(Request("POST", "/act", {}, {**right, "origin": origin}))

    assert access.refusal(Request("GET", "/", {}, {"host": host})) is None
    assert may_change(f"http://{host}")
    assert may_change(f"http://{host.removesuffix(':80')}")
    assert not may_change("http://evil.example")
    assert not may_change(f"http://{host.removesuffix(':80')}:81")
    assert not may_change(f"https://{host}")
    assert access.refusal(Request("GET", "/", {}, {"host": "evil.example"})) is not None
    assert Access(address, 81).refusal(Request("GET", "/", {}, {"host": host})) is not None
