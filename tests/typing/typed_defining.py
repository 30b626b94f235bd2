"""Types of what a flow is made of; checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import cascade
from cascade.cache import FileExistenceCache

# -- tasks -------------------------------------------------------------------------------------------------------


@cascade.task
def parse(page: bytes) -> list[str]:
    return [page.decode()]


@cascade.task
async def fetch(url: str, retries: int = 3) -> bytes:
    return url.encode() * retries


@cascade.task(retry=cascade.Retry(max_attempts=2), timeout=3.0, pure=True, mode="inline")
def size(words: list[str], *, unit: str = "words") -> int:
    return len(words)


@cascade.task(name="other", mode="task")
async def stored(words: list[str]) -> None:
    return None


@cascade.task()
def maybe(key: str) -> int | None:
    return None


def plain(x: int) -> str:
    return str(x)


async def coroutine(x: int) -> str:
    return str(x)


def tasks() -> None:
    as_written: cascade.Task[[bytes], list[str]] = parse
    assert_type(as_written(b"page"), cascade.LazyResult[list[str]])
    assert_type(parse.name, str)
    assert_type(parse.is_async, bool)
    assert_type(cascade.task(plain)(1), cascade.LazyResult[str])
    assert_type(cascade.task(coroutine)(1), cascade.LazyResult[str])
    assert_type(cascade.task(name="x")(plain)(1), cascade.LazyResult[str])
    assert_type(cascade.task(name="x")(coroutine)(1), cascade.LazyResult[str])


def tasks_of_functions_with_settings() -> None:
    assert_type(cascade.task(plain, name="x")(1), cascade.LazyResult[str])
    assert_type(cascade.task(coroutine, name="x", timeout=3.0)(1), cascade.LazyResult[str])
    assert_type(cascade.task(plain, mode="inline", pure=True).map(x=[1]), cascade.MappedLazyResult[str])
    as_written: cascade.Task[[int], str] = cascade.task(coroutine, version="2", retry=3)
    del as_written


# -- calls -------------------------------------------------------------------------------------------------------


def calls() -> None:
    page = fetch("https://a.example")
    assert_type(page, cascade.LazyResult[bytes])
    assert_type(fetch("a", retries=2), cascade.LazyResult[bytes])
    assert_type(size(["a"], unit="lines"), cascade.LazyResult[int])
    assert_type(stored(["a"]), cascade.LazyResult[None])
    assert_type(maybe("k"), cascade.LazyResult[int | None])


def arguments_of_every_kind() -> None:
    """An argument may be a value, or a lazy, Param, Env or Router of one."""
    url = cascade.Param("url")
    routed = cascade.Router(maybe("k"), {1: fetch("a"), 2: fetch("b")})

    assert_type(parse(b"page"), cascade.LazyResult[list[str]])
    assert_type(parse(fetch("a")), cascade.LazyResult[list[str]])
    assert_type(parse(page=fetch("a")), cascade.LazyResult[list[str]])
    assert_type(parse(routed), cascade.LazyResult[list[str]])
    assert_type(fetch(url), cascade.LazyResult[bytes])
    assert_type(fetch(cascade.Env("URL")), cascade.LazyResult[bytes])
    assert_type(fetch(url, retries=cascade.Param("n", default=3)), cascade.LazyResult[bytes])
    assert_type(fetch(url=url, retries=2), cascade.LazyResult[bytes])


class Service:
    @cascade.task
    def ask(self, question: str) -> int:
        return len(question)


# -- chaining ----------------------------------------------------------------------------------------------------


def chained() -> None:
    page = fetch("a")
    assert_type(page.with_retry(), cascade.LazyResult[bytes])
    assert_type(page.with_retry(max_attempts=3, delay=0.2, backoff=2.0), cascade.LazyResult[bytes])
    assert_type(page.with_retry(cascade.Retry(on=(OSError,))), cascade.LazyResult[bytes])
    assert_type(page.with_timeout(3), cascade.LazyResult[bytes])
    assert_type(page.with_timeout(None), cascade.LazyResult[bytes])
    assert_type(page.with_cost(3), cascade.LazyResult[bytes])
    assert_type(page.with_cost(None), cascade.LazyResult[bytes])
    assert_type(page.with_undo(fetch), cascade.LazyResult[bytes])
    assert_type(page.with_undo(fetch.partial(retries=2)), cascade.LazyResult[bytes])
    assert_type(page.with_undo(None), cascade.LazyResult[bytes])
    assert_type(page.with_cache(FileExistenceCache(Path("a"))), cascade.LazyResult[bytes])
    assert_type(page.with_constraints(gpu=1, memory=size(["a"])), cascade.LazyResult[bytes])
    assert_type(page.run_if(maybe("k")), cascade.LazyResult[bytes])
    assert_type(page.run_if(True, on_skip="skip"), cascade.LazyResult[bytes])
    assert_type(page.after(stored(["a"]), size(["b"])), cascade.LazyResult[bytes])
    assert_type(page.with_timeout(3).after(stored([])).run_if(cascade.Param("x")), cascade.LazyResult[bytes])


# -- maps --------------------------------------------------------------------------------------------------------


def mapped() -> None:
    pages = fetch.map(url=["a", "b"])
    assert_type(pages, cascade.MappedLazyResult[bytes])
    assert_type(fetch.map(url=cascade.Param("urls", default=["a"])), cascade.MappedLazyResult[bytes])
    assert_type(parse.map(page=pages), cascade.MappedLazyResult[list[str]])
    assert_type(fetch.partial(retries=2), cascade.Partial[bytes])
    assert_type(fetch.partial(retries=2)("a"), cascade.LazyResult[bytes])
    assert_type(fetch.partial(retries=2).map(url=["a"]), cascade.MappedLazyResult[bytes])
    assert_type(pages.with_concurrency(4), cascade.MappedLazyResult[bytes])
    assert_type(pages.with_cost(2.5), cascade.MappedLazyResult[bytes])
    assert_type(pages.with_undo(fetch), cascade.MappedLazyResult[bytes])
    assert_type(pages.with_retry(3), cascade.MappedLazyResult[bytes])
    assert_type(pages.with_timeout(3).with_concurrency(2), cascade.MappedLazyResult[bytes])
    assert_type(pages.after(stored([])), cascade.MappedLazyResult[bytes])
    as_lazy: cascade.LazyResult[list[bytes]] = pages
    as_sequences: cascade.LazyResult[Sequence[bytes]] = pages
    del as_lazy, as_sequences


# -- inputs, routers, sequences ----------------------------------------------------------------------------------


def as_even(text: str) -> int:
    return int(text)


def signals() -> None:
    """A signal is a lazy of its type."""
    assert_type(cascade.signal("x"), cascade.LazyResult[str])
    assert_type(cascade.signal("x", timeout=3.0), cascade.LazyResult[str])
    assert_type(cascade.signal("x", bool, default=False, timeout=3), cascade.LazyResult[bool])
    assert_type(cascade.signal("x", int | None), cascade.LazyResult[Any])
    assert_type(fetch(cascade.signal("x"), retries=cascade.signal("n", int)), cascade.LazyResult[bytes])
    assert_type(fetch("a").run_if(cascade.signal("x", bool)), cascade.LazyResult[bytes])


def inputs() -> None:
    assert_type(cascade.Param("x"), cascade.Param[str])
    assert_type(cascade.Param("x", description="words"), cascade.Param[str])
    assert_type(cascade.Param("x", default=3), cascade.Param[int])
    assert_type(cascade.Param("x", 3), cascade.Param[int])
    assert_type(cascade.Param("x", type=int), cascade.Param[int])
    assert_type(cascade.Param("x", default=Decimal(3), type=Decimal), cascade.Param[Decimal])
    assert_type(cascade.Param("x", type=as_even), cascade.Param[int])
    assert_type(cascade.Param("x", type=Path, description="where"), cascade.Param[Path])
    assert_type(cascade.Param("x", type=list[int]), cascade.Param[list[int]])
    assert_type(cascade.Param("x", default=None, type=int), cascade.Param[int | None])
    # Annotations that are no classes say nothing to type checkers.
    assert_type(cascade.Param("x", type=int | None), cascade.Param[Any])
    assert_type(cascade.Param("x", type=int, secret=True, validate=lambda n: n > 0), cascade.Param[int])
    assert_type(cascade.Param("x", 3, validate=lambda n: n > 0), cascade.Param[int])
    assert_type(cascade.Param("x", validate=bool), cascade.Param[str])
    assert_type(cascade.Env("X"), cascade.Env[str])
    assert_type(cascade.Env("X", default=3), cascade.Env[int])
    assert_type(cascade.Env("X", type=Decimal, secret=True), cascade.Env[Decimal])


def routers() -> None:
    both = cascade.Router(maybe("k"), {1: fetch("a"), 2: fetch("b")})
    assert_type(both, cascade.Router[bytes])
    with_default = cascade.Router(cascade.Param("n", type=int), {1: fetch("a")}, default=fetch("c"))
    assert_type(with_default, cascade.Router[bytes])


def failures_as_values() -> None:
    outcome = cascade.settled(maybe("k"))
    assert_type(outcome, cascade.OutcomeOf[int | None])
    assert_type(cascade.settled(cascade.Router(maybe("k"), {1: fetch("a")})), cascade.OutcomeOf[bytes])
    assert_type(fetch("a").or_else(b""), cascade.OrElse[bytes])
    assert_type(fetch("a").or_else(maybe("k")), cascade.OrElse[bytes | int | None])
    assert_type(fetch("a").or_else(fetch("b"), on=KeyError).or_else(fetch("c")), cascade.OrElse[bytes])
    parse(fetch("a").or_else(fetch("b")))
    mapped = fetch.map(url=["a"])
    assert_type(mapped.with_errors("collect", min_success=0.5), cascade.MappedLazyResult[bytes | cascade.Failed])
    assert_type(mapped.with_errors("raise"), cascade.MappedLazyResult[bytes])


def unwrapped(outcome: cascade.Outcome[int]) -> int:
    match outcome:
        case cascade.Done(value=value):
            assert_type(value, int)
        case cascade.Failed(error=error):
            assert_type(error, BaseException)
        case cascade.Skipped(reason=reason):
            assert_type(reason, cascade.SkipReason)
    return outcome.unwrap()


def together() -> None:
    assert_type(cascade.gather(fetch("a"), maybe("k")), cascade.LazyResult[tuple[bytes, int | None]])
    assert_type(cascade.gather(fetch("a"), 3), cascade.LazyResult[tuple[Any, ...]])
    assert_type(cascade.gather(*[fetch("a")]), cascade.LazyResult[tuple[bytes, ...]])
    assert_type(cascade.sequence([stored([]), fetch("a")]), cascade.LazyResult[Any])


def covariant(lazy: cascade.LazyResult[bool]) -> cascade.LazyResult[int]:
    return lazy


def one_coroutine() -> Coroutine[Any, Any, int]:
    raise NotImplementedError


def settings() -> None:
    of_coroutine: cascade.Task[[], int] = cascade.task(one_coroutine)
    del of_coroutine
    assert_type(cascade.Retry().on, tuple[type[Exception], ...])
