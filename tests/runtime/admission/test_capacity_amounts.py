"""Amounts of claims: exact, computed, of nothing, of what has no total; and whose word counts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from observed import held
from strategies_runtime import Gauge
from virtual_time import virtual_loops

import cascade
from cascade.testing import record_events

anyio_backend = virtual_loops


@cascade.task
async def work(gauge: Gauge, name: str = "") -> str:
    await gauge.work(name)
    return name


@cascade.task
async def number(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("amount", "total", "fitting"),
    [
        (0.1, 0.3, 3),
        (0.1, 0.2, 2),
        (Fraction(1, 3), 1, 3),
        (Decimal("0.2"), 0.6, 3),
        (1e-3, 0.004, 4),
        (2.5, 5, 2),
        (1, 2.9, 2),
    ],
)
async def test_amounts_are_exact(amount: Any, total: Any, fitting: int) -> None:
    gauge = Gauge()
    flow = [work(gauge).with_constraints(gpu=amount) for _ in range(fitting + 1)]
    await cascade.run(flow, system_resources={"gpu": total})
    assert gauge.most == fitting


@pytest.mark.parametrize("amount", [0.1, Decimal("0.1"), Fraction(1, 10)], ids=["float", "Decimal", "Fraction"])
async def test_computed_amounts_are_exact_too(amount: Any) -> None:
    gauge = Gauge()
    flow = [work(gauge).with_constraints(gpu=number(amount)) for _ in range(4)]
    await cascade.run(flow, system_resources={"gpu": 0.3})
    assert gauge.most == 3


async def test_a_float_of_a_class_of_its_own_is_the_number_it_is() -> None:
    class Float64(float):
        """Shows itself as the floats of numpy do."""

        def __repr__(self) -> str:
            return f"np.float64({float(self)!r})"

    gauge = Gauge()
    flow = [work(gauge).with_constraints(gpu=number(Float64(0.1))) for _ in range(4)]
    await cascade.run(flow, system_resources={"gpu": Float64(0.3)})
    assert gauge.most == 3


async def test_a_computed_amount_is_what_the_claim_holds() -> None:
    async with cascade.Engine(system_resources={"gpu": 9}) as engine:

        @cascade.task
        async def look() -> Mapping[str, Any]:
            return held(engine)

        assert await engine.run(look().with_constraints(gpu=number(7))) == {"gpu": 7}


async def test_an_amount_may_be_a_parameter() -> None:
    gauge = Gauge()
    flow = [work(gauge).with_constraints(gpu=cascade.Param("each", type=int)) for _ in range(4)]
    await cascade.run(flow, {"each": "2"}, system_resources={"gpu": 4})
    assert gauge.most == 2


async def test_a_task_whose_amount_was_skipped_is_skipped(schedule: Any) -> None:
    amount = number(1).run_if(False)
    with pytest.raises(cascade.DependencyMissingError) as caught:
        await cascade.run(work(Gauge()).with_constraints(gpu=amount), schedule=schedule)
    assert caught.value.reason == "UpstreamSkipped_Data"


async def test_claims_of_nothing_run_beside_each_other(schedule: Any) -> None:
    gauge = Gauge()
    flow = [work(gauge, name).with_constraints(gpu=0) for name in "abc"]
    assert await cascade.run(flow, system_resources={"gpu": 1}, schedule=schedule) == ["a", "b", "c"]


async def test_the_last_claim_said_wins_over_the_task_s_own() -> None:
    gauge = Gauge()

    @cascade.task(constraints={"gpu": 2})
    async def greedy() -> None:
        await gauge.work()

    await cascade.run([greedy().with_constraints(gpu=1) for _ in range(4)], system_resources={"gpu": 2})
    assert gauge.most == 2


async def test_a_task_s_own_claim_holds_where_nothing_else_is_said() -> None:
    gauge = Gauge()

    @cascade.task(constraints={"gpu": 2})
    async def greedy() -> None:
        await gauge.work()

    await cascade.run([greedy() for _ in range(4)], system_resources={"gpu": 3})
    assert gauge.most == 1


async def test_a_resource_without_total_is_unlimited() -> None:
    gauge = Gauge()
    await cascade.run([work(gauge).with_constraints(tpu=1000) for _ in range(5)])
    assert gauge.most == 5


async def test_a_resource_without_total_is_warned_of_once_per_name_and_run() -> None:
    async with cascade.Engine(system_resources={"gpu": 9}) as engine:
        with record_events(engine) as recorded:
            flow = [work(Gauge()).with_constraints(tpu=1, gpu=1), work(Gauge()).with_constraints(tpu=2, npu=1)]
            await engine.run(flow, run_id="first")
            await engine.run(flow, run_id="second")
    warnings = [event for event in recorded.of(cascade.StaticAnalysisWarning) if event.warning_code == "CS-W002"]
    assert [warning.run_id for warning in warnings] == ["first", "first", "second", "second"]
    assert [[name for name in ("tpu", "npu", "gpu") if repr(name) in w.message] for w in warnings[:2]] == [
        ["tpu"],
        ["npu"],
    ]
