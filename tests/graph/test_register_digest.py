"""What users say stands for values of their own classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from digests import digest

import cascade
from cascade.cache import InputCache, MemoryCacheStore, register_digest
from cascade.graph.canonical import NotDigestibleError, forms
from cascade.graph.identity import value_digest


class Client:
    """Without digest of its own."""

    def __init__(self, host: str, port: int = 80) -> None:
        self.host = host
        self.port = port
        self.opened = object()

    def fetch(self, path: str) -> str:
        return f"{self.host}/{path}"


class SafeClient(Client):
    """A kind of client."""


@attrs.frozen
class Reading:
    """A record, of which something is known already."""

    value: float
    taken: float


class Heap(list[int]):
    """A container, likewise."""


@pytest.fixture(autouse=True)
def registrations() -> Iterator[None]:
    """Leaves no registration behind."""
    before = dict(forms._registered)
    yield
    forms._registered.clear()
    forms._registered.update(before)
    forms._forms.clear()


def address(client: Client) -> Any:
    return (client.host, client.port)


def test_what_the_function_returns_stands_for_the_value() -> None:
    register_digest(Client, address)
    assert digest(Client("a")) == digest(Client("a"))
    assert len({digest(Client("a")), digest(Client("b")), digest(Client("a", 81)), digest(("a", 80))}) == 4


def test_a_class_that_was_refused_before_is_known_from_then_on() -> None:
    with pytest.raises(NotDigestibleError):
        digest([Client("a")])
    register_digest(Client, address)
    assert digest([Client("a")]) == digest([Client("a")])


def test_a_registration_holds_for_subclasses_which_stay_classes_of_their_own() -> None:
    register_digest(Client, address)
    assert digest(SafeClient("a")) == digest(SafeClient("a")) != digest(Client("a"))


def test_the_registration_of_the_nearest_class_counts() -> None:
    register_digest(SafeClient, lambda client: client.host)
    register_digest(Client, address)
    assert digest(SafeClient("a", 1)) == digest(SafeClient("a", 2))
    assert digest(Client("a", 1)) != digest(Client("a", 2))


def test_the_last_registration_of_a_class_counts() -> None:
    register_digest(Client, address)
    register_digest(Client, lambda client: client.host)
    assert digest(Client("a", 1)) == digest(Client("a", 2))


@pytest.mark.parametrize(
    ("kind", "function", "a", "b"),
    [
        (Reading, lambda reading: reading.value, Reading(1, 2), Reading(1, 3)),
        (Heap, sorted, Heap([1, 2]), Heap([2, 1])),
        (Heap, lambda heap: None, Heap([1, 2]), Heap()),
    ],
)
def test_a_registration_goes_before_what_is_known(kind: type, function: Any, a: Any, b: Any) -> None:
    assert digest(a) != digest(b)
    register_digest(kind, function)
    assert digest(a) == digest(b)


@pytest.mark.parametrize(
    ("function", "reason", "path"),
    [
        (lambda client: client.no_such, "AttributeError", "config[0]"),
        (lambda client: 1 / 0, "ZeroDivisionError: division by zero", "config[0]"),
        (lambda client: client.opened, "object", "config[0]"),
        (lambda client: {"deep": [client.opened]}, "object", "config[0]['deep'][0]"),
        (lambda client: client, "contains itself", "config[0] contains itself and"),
    ],
)
def test_a_function_that_fails_makes_values_without_digest(
    function: Callable[[Any], Any], reason: str, path: str
) -> None:
    register_digest(Client, function)
    with pytest.raises(NotDigestibleError, match=reason) as caught:
        value_digest([Client("a")], "config")
    assert caught.value.path == path


@pytest.mark.parametrize(
    "kind", [int, str, type(None), dict, list, tuple, object, type, cascade.LazyResult, cascade.Task]
)
def test_what_all_digests_are_made_of_is_fixed(kind: type) -> None:
    with pytest.raises(TypeError, match="fixed"):
        register_digest(kind, repr)


@pytest.mark.parametrize("arguments", [("Client", address), (Client, "host"), (Client("a"), address)])
def test_what_is_no_class_or_no_function_is_refused(arguments: Any) -> None:
    with pytest.raises(TypeError, match="takes a class and a function"):
        register_digest(*arguments)


async def test_a_cached_call_takes_a_registered_argument() -> None:
    register_digest(Client, address)
    ran: list[str] = []

    @cascade.task(cache=InputCache(MemoryCacheStore()))
    async def fetch(client: Client) -> str:
        ran.append(client.host)
        return client.host

    clients = [Client("a"), Client("b"), Client("a")]
    assert [await cascade.run(fetch(client)) for client in clients] == ["a", "b", "a"]
    assert ran == ["a", "b"]


async def test_a_task_bound_to_a_registered_object_counts_with_it() -> None:
    register_digest(Client, address)
    cache = InputCache(MemoryCacheStore())

    def call(host: str) -> Any:
        return cascade.task(Client(host).fetch)("x").with_cache(cache)

    assert [await cascade.run(call(host)) for host in "aba"] == ["a/x", "b/x", "a/x"]
    assert len(cache.store._entries) == 2  # type: ignore[attr-defined]  # of the one in memory
