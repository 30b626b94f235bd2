"""Tasks of which it is not known what they do: named, and run again when their run is resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import cascade
from cascade.testing import record_events
from state.cleared import cleared
from state.stores import StoreUnderTest

RAN: Counter[str] = Counter()
FAILING: set[str] = set()
nothing_has_run = cleared(RAN, FAILING)


class Client:
    """Of a class that says nothing about its objects."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant

    async def fetch(self, part: int = 0) -> str:
        RAN["fetch"] += 1
        return f"data of {self.tenant}"

    async def __call__(self) -> str:
        return await self.fetch()


@attrs.frozen
class Known:
    """Of a class whose fields say all."""

    tenant: str

    async def fetch(self, part: int = 0) -> str:
        RAN["fetch"] += 1
        return f"data of {self.tenant}"


@cascade.task
async def other(x: Any = None) -> Any:
    RAN["other"] += 1
    return x


@cascade.task
async def after(*values: Any) -> Any:
    RAN["after"] += 1
    return list(values)


@cascade.task
async def end(*values: Any) -> Any:
    RAN["end"] += 1
    if FAILING:
        raise ValueError("down")
    return list(values)


async def resumed(make: Callable[[str], Any], store: StoreUnderTest, **settings: Any) -> tuple[Any, Any]:
    """What the flow gives that was begun for one tenant and is gone on with for another, and the warnings."""
    FAILING.add("end")
    with pytest.raises(ValueError, match="down"):
        await cascade.run(make("one"), state=store.state, run_id="night", **settings)
    FAILING.clear()
    RAN.clear()
    engine = cascade.Engine(state=store.state, **settings)
    with record_events(engine) as recorded:
        value = await engine.run(make("two"), run_id="night")
    return value, [event for event in recorded.of(cascade.EngineWarning) if event.code == "not-digestible"]


def in_closure(tenant: str) -> Any:
    client = Client(tenant)

    @cascade.task(name="fetch")
    async def closed() -> str:
        return await client.fetch()

    return closed()


FETCHES: list[Any] = [
    pytest.param(lambda tenant: cascade.task(Client(tenant).fetch)(), id="bound method"),
    pytest.param(lambda tenant: cascade.task(name="fetch")(Client(tenant))(), id="callable object"),
    pytest.param(in_closure, id="closure"),
]


@pytest.mark.parametrize("fetch", FETCHES)
async def test_what_another_object_gave_is_not_taken(
    fetch: Callable[[str], Any], store: StoreUnderTest, schedule: Any
) -> None:
    value, warnings = await resumed(lambda tenant: end(after(fetch(tenant)), other(1)), store, schedule=schedule)
    assert value == [["data of two"], 1]
    assert RAN == {"fetch": 1, "after": 1, "end": 1}
    assert len(warnings) == 1
    assert "run again whenever the run is resumed" in warnings[0].message
    assert "'fetch' (fetch" in warnings[0].message
    assert "Client, which has no canonical hash" in warnings[0].message


async def test_nor_is_the_result_of_a_run_that_has_finished(store: StoreUnderTest) -> None:
    for tenant in ("one", "two"):
        flow = [cascade.task(Client(tenant).fetch)(), other(1)]
        assert await cascade.run(flow, state=store.state, run_id="night") == [f"data of {tenant}", 1]
    assert RAN == {"fetch": 2, "other": 1}


async def test_items_of_a_map_of_such_calls_run_again(store: StoreUnderTest, schedule: Any) -> None:
    def flow(tenant: str) -> Any:
        return end(cascade.task(Client(tenant).fetch).map(part=[1, 2]))

    value, _ = await resumed(flow, store, schedule=schedule)
    assert value == [["data of two"] * 2]
    assert RAN == {"fetch": 2, "end": 1}


async def test_a_change_beside_them_is_told_all_the_same(store: StoreUnderTest) -> None:
    with pytest.raises(cascade.FlowChangedError) as caught:
        await resumed(lambda tenant: end(cascade.task(Client(tenant).fetch)(), other(tenant)), store)
    assert caught.value.nodes == ("other",)


async def test_an_object_whose_fields_are_known_is_a_change(store: StoreUnderTest) -> None:
    with pytest.raises(cascade.FlowChangedError) as caught:
        await resumed(lambda tenant: end(cascade.task(Known(tenant).fetch)()), store)
    assert caught.value.nodes == ("fetch",)


async def test_a_version_says_that_the_object_does_not_matter(store: StoreUnderTest) -> None:
    value, warnings = await resumed(lambda tenant: end(cascade.task(version="1")(Client(tenant).fetch)()), store)
    assert value == ["data of one"]
    assert RAN == {"end": 1}
    assert warnings == []


async def test_an_object_that_is_an_argument_is_compared_by_its_class_and_named(store: StoreUnderTest) -> None:
    value, warnings = await resumed(lambda tenant: end(after(Client(tenant), other(1))), store)
    assert RAN == {"end": 1}
    assert value[0][1] == 1
    assert len(warnings) == 1
    assert "compared with records by all but this, which has no digest: 'after'" in warnings[0].message


async def test_a_change_beside_such_an_argument_is_a_change(store: StoreUnderTest) -> None:
    with pytest.raises(cascade.FlowChangedError) as caught:
        await resumed(lambda tenant: end(after(Client(tenant), tenant)), store)
    assert caught.value.nodes == ("after",)


async def test_what_a_changed_node_gives_to_one_with_such_an_argument_is_not_forgotten(
    store: StoreUnderTest,
) -> None:
    def flow(tenant: str) -> Any:
        return end(after(Client("same"), other(tenant)))

    FAILING.add("end")
    with pytest.raises(ValueError, match="down"):
        await cascade.run(flow("one"), state=store.state, run_id="night")
    FAILING.clear()
    ((_, given),) = await cascade.run(flow("two"), state=store.state, run_id="night", on_change="recompute")
    assert given == "two"


async def test_a_loop_of_such_calls_begins_anew(store: StoreUnderTest) -> None:
    class Loop:
        """Counts down, and fails once."""

        def __init__(self) -> None:
            self.turns: list[int] = []

        async def step(self, n: int) -> Any:
            self.turns.append(n)
            if n == 1 and FAILING:
                raise ValueError("down")
            return cascade.task(version="1")(self.step)(n - 1) if n else "done"

    FAILING.add("end")
    loops = [Loop(), Loop()]
    settings: dict[str, Any] = {"state": store.state, "run_id": "night", "loop_record": (1, 0)}
    with pytest.raises(ValueError, match="down"):
        await cascade.run(cascade.task(loops[0].step)(3), **settings)
    FAILING.clear()
    assert await cascade.run(cascade.task(loops[1].step)(3), **settings) == "done"
    assert loops[1].turns == [3, 2, 1, 0]
