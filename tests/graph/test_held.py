"""What a task holds beside its source: bound objects, bound arguments, closures, defaults."""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import cascade
from cascade.graph.build import build
from cascade.graph.code import TaskNotDigestibleError, code_digest, code_digest_here
from cascade.graph.identity import contents_of, digests
from cascade.graph.nested import finish


class Client:
    """Of a class that says nothing about what its objects are."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant

    def fetch(self, path: str = "/") -> str:
        return self.tenant + path

    @classmethod
    def made(cls, tenant: str) -> str:
        return tenant

    @staticmethod
    def joined(a: str, b: str = "") -> str:
        return a + b

    def __call__(self, path: str) -> str:
        return self.tenant + path

    fetch_root = functools.partialmethod(fetch, "/root")


@attrs.frozen
class Known:
    """Of a class whose fields say what its objects are."""

    tenant: Any

    def fetch(self, path: str = "/") -> str:
        return f"{self.tenant}{path}"

    def __call__(self, path: str) -> str:
        return f"{self.tenant}{path}"

    fetch_root = functools.partialmethod(fetch, "/root")


class Empty:
    """With nothing in it."""

    def fetch(self, path: str) -> str:
        return path

    def __call__(self, path: str) -> str:
        return path


class OtherEmpty(Empty):
    """Likewise, and another."""


def wrapping(held: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator that holds something."""

    def decorate(func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any) -> Any:
            return func(*args), held

        return wrapper

    return decorate


def in_closure(held: Any) -> Callable[..., Any]:
    def fetch(path: str) -> Any:
        return held, path

    return fetch


def in_default(held: Any) -> Callable[..., Any]:
    def fetch(path: str, client: Any = held) -> Any:
        return client, path

    return fetch


def in_keyword_default(held: Any) -> Callable[..., Any]:
    def fetch(path: str, *, client: Any = held) -> Any:
        return client, path

    return fetch


def in_decorator(held: Any) -> Callable[..., Any]:
    @wrapping(held)
    def fetch(path: str) -> str:
        return path

    return fetch


def in_partial(held: Any) -> Callable[..., Any]:
    return functools.partial(in_default(None), client=held)


def in_cached(held: Any) -> Callable[..., Any]:
    return functools.lru_cache(in_closure(held))


def in_list(held: Any) -> Callable[..., Any]:
    return in_closure([held])


def in_dict_of_a_partial(held: Any) -> Callable[..., Any]:
    return functools.partial(max, {"client": (held,)})


def in_another_function(held: Any) -> Callable[..., Any]:
    return in_closure(in_closure(held))


def in_another_task(held: Any) -> Callable[..., Any]:
    return in_closure(cascade.task(in_closure(held)))


HOLDERS: list[Any] = [
    in_closure, in_default, in_keyword_default, in_decorator, in_partial, in_cached, in_list, in_dict_of_a_partial,
    in_another_function, in_another_task,
]  # fmt: skip
BINDERS: list[Any] = [
    pytest.param(lambda client: client.fetch, id="bound method"),
    pytest.param(lambda client: functools.partial(client.fetch, "x"), id="partial of a bound method"),
    pytest.param(lambda client: client.fetch_root, id="partial method"),
    pytest.param(lambda client: client, id="callable object"),
    pytest.param(lambda client: functools.partial(client, "x"), id="partial of a callable object"),
]


def task_of(func: Callable[..., Any]) -> Any:
    return cascade.task(name="fetch")(func)


# -- known objects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", BINDERS)
def test_a_task_counts_with_the_object_that_it_is_bound_to(bind: Callable[[Any], Any]) -> None:
    one, same, two = (code_digest(task_of(bind(Known(tenant)))) for tenant in ("one", "one", "two"))
    assert one == same != two


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("make", [Known, str, lambda tenant: {"tenant": tenant}], ids=["record", "text", "dict"])
def test_a_task_counts_with_what_it_holds(
    hold: Callable[[Any], Callable[..., Any]], make: Callable[[str], Any]
) -> None:
    one, same, two = (code_digest(task_of(hold(make(tenant)))) for tenant in ("one", "one", "two"))
    assert one == same != two


def test_a_remembered_function_is_told_by_its_source() -> None:
    first, second = functools.cache(lambda x: x + 1), functools.cache(lambda x: x + 2)
    assert code_digest(task_of(first)) != code_digest(task_of(second))


def test_a_class_method_counts_with_its_class() -> None:
    class Special(Client):
        factor = 1

    first, second = code_digest(task_of(Client.made)), code_digest(task_of(Special.made))
    assert first == code_digest(task_of(Client.made)) != second


@pytest.mark.parametrize("bind", [lambda thing: thing, lambda thing: thing.fetch])
def test_an_object_with_nothing_in_it_is_its_class(bind: Callable[[Any], Any]) -> None:
    assert code_digest(task_of(bind(Empty()))) == code_digest(task_of(bind(Empty())))
    assert code_digest(task_of(bind(Empty()))) != code_digest(task_of(bind(OtherEmpty())))


def test_an_object_with_nothing_in_it_but_of_an_unknown_class_is_unknown() -> None:
    def make(tenant: str) -> Any:
        class Local:
            client = Client(tenant)

            def fetch(self) -> str:
                return self.client.fetch()

        return task_of(Local().fetch)

    with pytest.raises(TaskNotDigestibleError, match=r"^fetch\.__self__ is a .*Local, "):
        code_digest(make("one"))
    assert code_digest_here(make("one")) != code_digest_here(make("two"))


def test_functions_that_hold_themselves_have_a_digest() -> None:
    def make(step: int) -> Any:
        def even(n: int) -> Any:
            return n == 0 or odd(n - step)

        def odd(n: int) -> Any:
            return n != 0 and even(n - step)

        return cascade.task(even)

    assert code_digest(make(1)) == code_digest(make(1)) != code_digest(make(2))


def test_tasks_that_hold_each_other_have_a_digest() -> None:
    def make(step: int) -> Any:
        @cascade.task
        def even(n: int) -> Any:
            return odd(n - step)

        @cascade.task
        def odd(n: int) -> Any:
            return even(n - step)

        return even

    assert code_digest(make(1)) == code_digest(make(1)) != code_digest(make(2))


# -- memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [in_closure, in_default, in_keyword_default, in_decorator, in_another_function])
def test_a_list_counts_as_it_was_when_the_task_was_first_looked_at(hold: Callable[[Any], Any]) -> None:
    notes: list[int] = []
    work = task_of(hold(notes))
    before = code_digest(work)
    notes.append(1)
    assert code_digest(work) == before
    assert code_digest(task_of(hold([5]))) != before


def test_what_is_put_in_the_place_of_a_list_counts() -> None:
    notes = [1]

    def work() -> Any:
        return notes

    task = cascade.task(work)
    before = code_digest(task)
    notes = [2]
    assert code_digest(task) != before


# -- unknown objects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", BINDERS)
def test_an_object_of_unknown_class_keeps_its_task_from_having_a_digest(bind: Callable[[Any], Any]) -> None:
    with pytest.raises(TaskNotDigestibleError, match=r"^fetch\S* is a test_held\.Client, .*version="):
        code_digest(task_of(bind(Client("one"))))


@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("thing", [Client("one"), threading.Lock(), iter([1])], ids=["object", "lock", "iterator"])
def test_so_does_one_that_is_held(hold: Callable[[Any], Callable[..., Any]], thing: Any) -> None:
    with pytest.raises(TaskNotDigestibleError):
        code_digest(task_of(hold(thing)))


@pytest.mark.parametrize("bind", [*BINDERS, *HOLDERS])
def test_a_version_stands_for_all_that(bind: Callable[[Any], Any]) -> None:
    one, two = (cascade.task(name="fetch", version="1")(bind(Client(tenant))) for tenant in ("one", "two"))
    assert code_digest(one) == code_digest(two)


@pytest.mark.parametrize("bind", [*BINDERS, *HOLDERS])
def test_in_one_process_such_an_object_counts_as_itself(bind: Callable[[Any], Any]) -> None:
    one, two = Client("same"), Client("same")
    first, again, other = (code_digest_here(task_of(bind(client))) for client in (one, one, two))
    assert first == again != other


def test_an_object_that_is_gone_is_not_mistaken_for_a_later_one() -> None:
    found = set()
    for _ in range(50):  # each is put in the place of the one before
        found.add(code_digest_here(task_of(Client("same").fetch)))
    assert len(found) == 50


def test_what_cannot_be_watched_has_no_digest_at_all() -> None:
    with pytest.raises(TaskNotDigestibleError):
        code_digest_here(task_of(in_closure(iter([1]))))


def test_a_digest_keeps_no_object_alive() -> None:
    client = Client("one")
    watch = weakref.ref(client)
    code_digest_here(task_of(client.fetch))
    del client
    gc.collect()
    assert watch() is None


def test_a_record_that_holds_an_unknown_object_stays_unknown() -> None:
    @attrs.define(eq=False)
    class Holder:
        client: Client

    work = task_of(in_closure(Holder(Client("one"))))
    code_digest_here(work)
    with pytest.raises(TaskNotDigestibleError):
        code_digest(work)


# -- in flows --------------------------------------------------------------------------------------------------


@cascade.task
def end(x: Any, y: Any = None) -> Any:
    return x


@cascade.task
def start(x: Any = None) -> Any:
    return x


def test_a_node_that_does_something_unknown_and_all_that_it_decides_have_digests_of_the_moment() -> None:
    def flow() -> Any:
        fetched = task_of(Client("one").fetch)("x")
        return end(end(fetched), end(start(1))), end(start(2)).run_if(fetched), end(3).after(fetched)

    graphs = [build(flow()) for _ in range(2)]
    first, second = (finish(contents_of(graph, {})) for graph in graphs)
    changed = {index for index, one in enumerate(first.digests) if one != second.digests[index]}
    named = {graphs[0].name(index) for index in changed}
    assert changed == first.volatile == second.volatile
    assert named == {"fetch", "end", "end#3", "end#4"}
    assert list(first.strangers) == ["fetch"]
    assert first.flow != second.flow


def test_a_task_as_an_argument_that_does_something_unknown_counts_by_what_is_known() -> None:
    def flow(tenant: str) -> Any:
        return start(task_of(Client(tenant).fetch))

    contents = [finish(contents_of(build(flow(tenant)), {})) for tenant in ("one", "two")]
    assert contents[0].digests == contents[1].digests
    assert list(contents[0].strangers) == ["start"]
    assert contents[0].volatile == set()


def test_what_is_known_of_an_argument_without_digest_counts() -> None:
    def known(flow: Any) -> Any:
        return finish(contents_of(build(flow), {})).digests[-1]

    assert known(end(Client("one"), 1)) == known(end(Client("two"), 1))
    assert known(end(Client("one"), 1)) != known(end(Client("one"), 2))
    assert known(end(Client("one"), 1)) != known(end(Empty(), 1))
    assert known(end([Client("one"), start(1)])) != known(end([Client("one"), start(2)]))
    assert known(end(Client("one"), start(1))) != known(end(Client("one"), start(2)))
    assert known(end(end(Client("one"), start(1)))) != known(end(end(Client("one"), start(2))))


def test_an_unknown_argument_is_named_once_and_its_consumers_are_not() -> None:
    found = [one for _, one in digests(build(end(end(Client("one")))), {})]
    assert [type(one).__name__ for one in found] == ["NotDigestibleError", "bytes"]
