"""Lazies: frozen, equal to themselves only, and no values."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from unshowable import Broken, Loud

import cascade
from cascade.graph.build import build
from cascade.model import lazies

# Characters, for any arguments whatever.
BOUND = 2000


@cascade.task(mode="inline")
def echo(*values: Any, extra: Any = None) -> Any:
    return values, extra


@cascade.task(mode="inline")
def one(x: Any = 1) -> Any:
    return x


KINDS = [pytest.param(lambda: one(1), id="call"), pytest.param(lambda: one.map(x=[1]), id="map")]
Make = Callable[[], cascade.LazyResult[Any]]


# -- frozen, and equal to themselves ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", ["args", "task", "own", "parent", "anything", "__class__"])
def test_a_lazy_cannot_be_changed(make: Make, name: str) -> None:
    with pytest.raises(TypeError, match="frozen"):
        setattr(make(), name, None)


@pytest.mark.parametrize("name", ["args", "anything"])
def test_nothing_can_be_deleted_from_a_lazy(name: str) -> None:
    with pytest.raises(TypeError, match="frozen"):
        delattr(one(), name)


@pytest.mark.parametrize("name", ["selector", "routes", "default"])
def test_a_router_cannot_be_changed(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(cascade.Router(1, {1: 2}), name, None)


@pytest.mark.parametrize("make", KINDS)
def test_equality_is_identity(make: Make) -> None:
    lazy = make()
    assert (lazy == lazy, lazy == make(), lazy != make()) == (True, False, True)


@pytest.mark.parametrize("make", KINDS)
def test_lazies_can_be_members_of_sets(make: Make) -> None:
    lazy = make()
    assert len({lazy, lazy, make()}) == 2


def test_a_lazy_of_an_unhashable_argument_has_a_hash() -> None:
    assert isinstance(hash(one([])), int)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_lazy_is_the_same_call(duplicate: Callable[[Any], Any]) -> None:
    lazy = one()
    assert duplicate(lazy) is lazy
    assert duplicate([lazy])[0] is lazy


def test_a_lazy_survives_pickling() -> None:
    lazy = pickle.loads(pickle.dumps(one(5).with_timeout(3).run_if(True)))
    assert cascade.run_sync(lazy) == 5


# -- chaining --------------------------------------------------------------------------------------------------

CHAINS = [
    pytest.param(lambda lazy: lazy.with_retry(2), id="with_retry"),
    pytest.param(lambda lazy: lazy.with_timeout(2), id="with_timeout"),
    pytest.param(lambda lazy: lazy.with_cache(None), id="with_cache"),
    pytest.param(lambda lazy: lazy.with_constraints(gpu=1), id="with_constraints"),
    pytest.param(lambda lazy: lazy.with_cost(2), id="with_cost"),
    pytest.param(lambda lazy: lazy.run_if(True), id="run_if"),
    pytest.param(lambda lazy: lazy.after(one()), id="after"),
]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("chain", CHAINS)
def test_chaining_gives_another_lazy_a_map_if_it_was_one(make: Make, chain: Callable[[Any], Any]) -> None:
    lazy = make()
    chained = chain(lazy)
    assert chained is not lazy
    assert isinstance(chained, cascade.LazyResult)
    assert isinstance(chained, cascade.MappedLazyResult) is isinstance(lazy, cascade.MappedLazyResult)


def test_what_is_said_of_a_call_makes_it_a_copy_whichever_class_is_asked_for() -> None:
    call = one(1)
    copy_of_it = call.with_retry(2)
    made = lazies.sealed(cascade.LazyResult, copy_of_it.task, (1,), {}, own=copy_of_it.own, parent=call)
    assert (made.own, made.parent) == (copy_of_it.own, call)
    together = pickle.loads(pickle.dumps([call, copy_of_it]))
    assert together[1].parent is together[0]
    assert together[1].own == copy_of_it.own
    assert len(build(together).nodes) == 1


@pytest.mark.parametrize("count", range(6))
def test_a_call_keeps_its_positional_arguments_however_many(count: int) -> None:
    given = tuple(f"argument {number}" for number in range(count))
    lazy = echo(*given)
    chained = lazy.with_retry(2)
    assert [lazy.args, chained.args, chained.with_timeout(1).args] == [given] * 3
    assert pickle.loads(pickle.dumps(lazy)).args == given
    assert pickle.loads(pickle.dumps(chained)).args == given
    assert copy.deepcopy(lazy) is lazy


@pytest.mark.parametrize("chain", CHAINS)
def test_chaining_leaves_the_original_as_it_was(chain: Callable[[Any], Any]) -> None:
    lazy = one()
    before = lazy.own
    chain(lazy)
    assert lazy.own == before


# -- bounded repr ----------------------------------------------------------------------------------------------


@attrs.frozen
class Wrapper:
    content: Any


def _nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


def _bushy_router(depth: int) -> Any:
    router: Any = one()
    for _ in range(depth):
        router = cascade.Router(one(), {1: router, 2: router})
    return router


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: "x" * 1_000_000, id="text"),
        pytest.param(lambda: b"x" * 1_000_000, id="bytes"),
        pytest.param(lambda: 10**4000, id="number"),
        pytest.param(lambda: 10**5000, id="number that Python refuses to print"),
        pytest.param(lambda: list(range(100_000)), id="list"),
        pytest.param(lambda: {number: number for number in range(100_000)}, id="dict"),
        pytest.param(lambda: set(range(100_000)), id="set"),
        pytest.param(lambda: Loud(), id="loud object"),
        pytest.param(lambda: [Loud(), {"key": Loud()}], id="loud objects in containers"),
        pytest.param(lambda: {"k" * 100_000: 1}, id="dict with a long key"),
        pytest.param(lambda: Broken(), id="object without repr"),
        pytest.param(lambda: [Broken()], id="objects without repr in a list"),
        pytest.param(lambda: _nested(100_000, lambda value: [value]), id="deep list"),
        pytest.param(lambda: _nested(100_000, lambda value: {"k": value}), id="deep dict"),
        pytest.param(lambda: _nested(100_000, Wrapper), id="deep records"),
        pytest.param(lambda: _nested(100_000, one), id="chain of calls"),
        pytest.param(lambda: _nested(100_000, lambda value: one.map(x=[value])), id="chain of maps"),
        pytest.param(lambda: _nested(100_000, lambda value: [one(value)]), id="chain of calls in lists"),
        pytest.param(lambda: _nested(100_000, lambda value: Wrapper(one(value))), id="chain of calls in records"),
        pytest.param(lambda: _nested(20_000, lambda value: cascade.Router(value, {1: 2})), id="chain of routers"),
    ],
)
def test_the_repr_of_a_call_is_bounded(make: Callable[[], Any]) -> None:
    assert len(repr(one(make()))) < BOUND


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: echo(*range(100_000)), id="many arguments"),
        pytest.param(lambda: echo(*[Loud()] * 100), id="many loud arguments"),
        pytest.param(
            lambda: cascade.task(lambda **kwargs: 1)(**{f"k{n}": n for n in range(10_000)}), id="many keywords"
        ),
        pytest.param(lambda: one.map(x=range(100_000)), id="long column"),
        pytest.param(lambda: one.map(x=["x" * 100_000]), id="column of long text"),
        pytest.param(lambda: one().after(*[one()] * 1000), id="many predecessors"),
    ],
)
def test_the_repr_is_bounded_for_any_number_of_arguments(make: Callable[[], Any]) -> None:
    assert len(repr(make())) < BOUND


def test_the_repr_of_a_call_does_not_write_out_all_that_routers_share() -> None:
    """Nineteen levels would be fifty million characters; sixty would never end."""
    written: list[int] = []

    class Counting:
        def __repr__(self) -> str:
            written.append(1)
            return "counting"

    router: Any = Counting()
    for _ in range(10):
        router = cascade.Router(1, {1: router, 2: router})
    repr(one(router))
    assert len(written) < 100


def test_the_repr_of_a_router_is_bounded() -> None:
    assert len(repr(_bushy_router(10))) < BOUND


def test_the_repr_of_a_router_does_not_recurse() -> None:
    assert repr(_nested(2000, lambda value: cascade.Router(value, {1: 2})))


def test_the_repr_shows_task_and_arguments() -> None:
    assert repr(echo(1, extra="a")) == "<LazyResult echo(1, extra='a')>"


def test_the_repr_of_a_map_says_that_it_is_one() -> None:
    assert repr(one.map(x=[1, 2])) == "<MappedLazyResult one.map(x=[1, 2])>"


def test_the_repr_shows_calls_among_the_arguments_by_name() -> None:
    assert repr(one([one(5)])) == "<LazyResult one([one(...)])>"
