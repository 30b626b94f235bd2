"""Node ids: unique in a graph, readable, and the same in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from strategies import Itinerary, itineraries

import cascade
from cascade.graph.build import build
from cascade.graph.identity import digests, shape
from cascade.testing import record_events

ROOT = Path(cascade.__file__).parent.parent


@cascade.task
def fetch(x: Any = None, y: Any = None) -> Any:
    return x


@cascade.task
def parse(x: Any = None, y: Any = None) -> Any:
    return x


def ids(flow: Any) -> list[str]:
    return [node.name for node in build(flow).nodes]


def picture(flow: Any) -> Any:
    """All that must not depend on the process: ids, what needs what, digests, shape."""
    graph = build(flow)
    digested = [d if isinstance(d, bytes) else str(d) for _, d in digests(graph, {"env:A": "a", "param:p": "p"})]
    return [node.name for node in graph.nodes], digested, list(graph.edges()), shape(graph)


# -- unique and readable ---------------------------------------------------------------------------------------


def test_the_first_call_has_the_name_of_its_task_and_others_are_counted() -> None:
    assert ids([fetch(1), parse(2), fetch(3), fetch(4)]) == ["fetch", "parse", "fetch#2", "fetch#3"]


def test_calls_are_counted_in_the_order_of_their_arguments() -> None:
    assert ids(parse(fetch("a"), y=fetch(fetch("b")))) == ["fetch", "fetch#2", "fetch#3", "parse"]


def test_an_id_says_the_name_given_to_the_task() -> None:
    assert ids(cascade.task(name="other")(fetch.func)()) == ["other"]


def _named(name: str) -> Any:
    return cascade.task(name=name, mode="inline")(lambda: 1)()


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param([fetch(1), fetch(2), _named("fetch#2")], id="a task called like a second call"),
        pytest.param([_named("fetch#2"), fetch(1), fetch(2)], id="the same, before"),
        pytest.param([_named("fetch"), fetch(1)], id="two tasks of one name"),
        pytest.param([_named("router"), cascade.Router(1, {1: fetch()})], id="a task called router"),
        pytest.param([_named("router#2"), *[cascade.Router(1, {1: fetch()}) for _ in range(2)]], id="router#2"),
    ],
)
def test_no_two_nodes_have_one_id(flow: Any) -> None:
    found = ids(flow)
    assert len(set(found)) == len(found)


async def test_no_call_has_the_id_of_an_item() -> None:
    engine = cascade.Engine()
    with record_events(engine) as recorded:
        await engine.run([_named("fetch[0]"), fetch.map(x=[1])])
        finished = [event.task_id for event in recorded.of(cascade.TaskExecutionFinished)]
    assert len(set(finished)) == len(finished)


@given(itineraries())
def test_ids_are_unique_in_any_flow(itinerary: Itinerary) -> None:
    found = ids(itinerary.target())
    assert len(set(found)) == len(found)


# -- the same for the same flow --------------------------------------------------------------------------------


@given(itineraries())
def test_a_flow_made_again_has_the_same_picture(itinerary: Itinerary) -> None:
    assert picture(itinerary.target()) == picture(itinerary.target())


@attrs.frozen
class Box:
    content: Any


def _in_both_orders(make: Callable[[], tuple[Any, Any]], wrap: Callable[[Any], Any]) -> Iterator[tuple[Any, Any]]:
    """Two pairs, of which a set gives the first member first, and last."""
    pairs = [make() for _ in range(200)]  # all alive at once, or they would have the same addresses
    for wanted in (0, 1):
        yield next(pair for pair in pairs if _first({wrap(pair[0]), wrap(pair[1])}) == wrap(pair[wanted]))


def _first(members: set[Any]) -> Any:
    return next(iter(members))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: (fetch("a"), fetch("b")), id="arguments"),
        pytest.param(lambda: (fetch(1), parse(1)), id="tasks"),
        pytest.param(lambda: (fetch(x=1), fetch(y=1)), id="keywords"),
        pytest.param(lambda: (fetch(fetch(1)), fetch(parse(1))), id="upstream"),
        pytest.param(lambda: (fetch.map(x=[1]), fetch.map(x=[2])), id="columns"),
        pytest.param(lambda: (fetch(1), fetch.map(x=[1])), id="call and map"),
        pytest.param(lambda: (fetch(1), cascade.Router(1, {1: fetch(1)})), id="call and router"),
        pytest.param(lambda: (fetch(1).with_retry(2), fetch(1).with_retry(3)), id="retry"),
        pytest.param(lambda: (fetch(1).with_timeout(2), fetch(1)), id="timeout"),
        pytest.param(lambda: (fetch(1).with_constraints(gpu=1), fetch(1)), id="amount"),
        pytest.param(lambda: (fetch(1).run_if(parse(1)), fetch(1).run_if(parse(2))), id="condition"),
        pytest.param(lambda: (fetch(1).after(parse(1)), fetch(1).after(parse(2))), id="predecessor"),
        pytest.param(
            lambda: (cascade.Router(1, {1: fetch()}), cascade.Router(1, {2: fetch()})), id="keys of a router"
        ),
        pytest.param(
            lambda: (cascade.Router(1, {}, default=fetch(1)), cascade.Router(1, {}, default=fetch(2))),
            id="default of a router",
        ),
        pytest.param(lambda: (fetch(object()), fetch(Box(1))), id="a value of unknown type"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda lazy: lazy, Box], ids=["bare", "record"])
def test_the_order_in_which_a_set_gives_its_members_changes_nothing(
    make: Callable[[], tuple[Any, Any]], wrap: Callable[[Any], Any]
) -> None:
    first, second = _in_both_orders(make, wrap)
    pictures = [picture(parse({wrap(a), wrap(b)})) for a, b in (first, second)]
    assert pictures[0] == pictures[1]


# -- between processes -----------------------------------------------------------------------------------------

SCRIPT = """
from __future__ import annotations
import collections, datetime, enum, functools, json, pathlib, types
import attrs
import cascade
from cascade.graph.build import build
from cascade.graph.identity import digests, shape
from cascade.planning.solve import solve

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

@attrs.frozen
class Client:
    words: frozenset
    def get(self, x): return x in {"a", "b"}

class Tagged(dict): pass

def tagged(tag):
    made = Tagged(a=1)
    made.tag, made.other = tag, 2
    return made

def local(factor):
    class Model:
        def scale(self, x): return x in {"a", "b", factor}
    class Shade(enum.Enum):
        DARK = factor
    return attrs.make_class("Record", ["x"])(factor), Model, Shade.DARK

@cascade.task
def fetch(a=None, b=None, c=None, d=None):
    return a in {"x", "y", "z"}

@cascade.task(pure=True)
def parse(a=None, b=None, c=None, d=None):
    return a

names = {}
exec("def made(x): return x in {'a', 'b', 'c', 'd'}", names)
made = cascade.task(names["made"])
words = {"alpha", "beta", "gamma", "delta"}

FLOWS = {
    "plain": lambda: fetch(1, "two", 3.0, b"four"),
    "keywords": lambda: fetch(d=1, c=2, b=3, a=4),
    "map of four columns": lambda: fetch.map(a=[1], b=[2], c=[3], d=[4]),
    "map with fixed arguments": lambda: fetch.partial(b=1, c=fetch()).map(a=[1], d=[2]),
    "set of text": lambda: fetch(words, frozenset(words)),
    "dict of text": lambda: fetch({word: fetch(word) for word in sorted(words)}),
    "set of lazies": lambda: fetch({fetch(word) for word in words}),
    "set of lazies and values": lambda: fetch({*words, *[fetch(word) for word in words], *[parse(1), parse(2)]}),
    "set of tuples of lazies": lambda: fetch({(word, fetch(word)) for word in words}),
    "sets of sets": lambda: fetch(frozenset(frozenset({fetch(word), word}) for word in words)),
    "target set": lambda: {fetch(word) for word in words},
    "set of maps": lambda: fetch({fetch.map(a=[word], b=[1]) for word in words}),
    "set of routers": lambda: fetch({cascade.Router(word, {word: fetch(word)}) for word in words}),
    "set of defaults": lambda: fetch({cascade.Router(1, {}, default=fetch(word)) for word in words}),
    "set of inputs": lambda: fetch({cascade.Env("A"), cascade.Param("p"), fetch(1)}),
    "set of calls with policies": lambda: fetch({fetch(1).with_retry(n) for n in range(1, 5)}),
    "set of calls with conditions": lambda: fetch({fetch(1).run_if(fetch(word)) for word in words}),
    "function without source": lambda: made(1),
    "function as argument": lambda: fetch(fetch.func, Colour, parse),
    "values": lambda: fetch(Colour.RED, datetime.date(2026, 1, 1), pathlib.PurePosixPath("a"), range(3)),
    "ordered dict and deque": lambda: fetch(collections.OrderedDict(a=words), collections.deque([1], 2)),
    "namespace": lambda: fetch(types.SimpleNamespace(a=words, b=1), types.MappingProxyType({"a": words})),
    "subclasses and errors": lambda: fetch(tagged(words), ValueError("a", words), collections.Counter("abc")),
    "local classes": lambda: fetch(*local(1)),
    "bound methods": lambda: cascade.task(Client(frozenset(words)).get)(functools.partial(max, key=len)),
    "enum keys": lambda: cascade.Router(Colour.RED, {Colour.RED: fetch(), Colour.BLUE: fetch()}),
    "frozenset keys": lambda: cascade.Router(1, {frozenset(words): fetch(), 1: fetch()}),
    "pure calls": lambda: fetch(*[parse({word}, c=1, b=2) for word in sorted(words)]),
    "conditions and claims": lambda: fetch().run_if(fetch()).after(fetch()).with_constraints(gpu=1, cpu=fetch()),
    "retry on classes": lambda: fetch().with_retry(3, on=(ValueError, KeyError)),
}
found = {}
for name, make in FLOWS.items():
    graph = build(make())
    inputs = {"env:A": "a", "param:p": "p"}
    digested = [d.hex() if isinstance(d, bytes) else str(d) for _, d in digests(graph, inputs)]
    edges = [(e.source, e.target, e.kind.value) for e in graph.edges()]
    found[name] = {
        "ids": [[node.name for node in graph.nodes], edges],
        "terms": [node.terms.retry and node.terms.retry.max_attempts for node in graph.calls()],
        "digests": digested,
        "shape": shape(graph).hex(),
        "stages": solve(graph).stages,
    }
print(json.dumps(found))
"""
CASES = [line.split('"')[1] for line in SCRIPT.splitlines() if line.startswith('    "') and "lambda:" in line]
ASPECTS = ["ids", "terms", "digests", "shape", "stages"]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """What several processes with different hash seeds and memory layouts find."""
    script = tmp_path_factory.mktemp("identity") / "flows_of_a_process.py"
    script.write_text(SCRIPT, encoding="utf-8")
    found = []
    for seed in range(5):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(seed),
            "PYTHONPATH": str(ROOT),
            "PADDING": "x" * 1000 * seed,
        }
        done = subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("case", CASES)
def test_no_process_sees_it_differently(
    processes: list[dict[str, dict[str, Any]]], case: str, aspect: str
) -> None:
    seen = [process[case][aspect] for process in processes]
    assert seen == [seen[0]] * len(seen)
