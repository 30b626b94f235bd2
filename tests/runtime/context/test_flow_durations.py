"""What a process remembers of how long flows took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cascade.runtime.context.durations import FlowDurations


def test_a_flow_is_remembered_by_its_outline() -> None:
    flows = FlowDurations()
    flows.of(b"a", 2).learn(0, 1.0)
    assert flows.of(b"a", 2).seconds[0] == 1.0
    assert flows.of(b"b", 2).seconds[0] < 0
    assert flows.of(b"a", 3).seconds[0] < 0, "another size is another flow"


def test_the_flow_that_was_not_used_for_longest_is_forgotten() -> None:
    flows = FlowDurations(most_flows=2)
    for name in (b"a", b"b", b"a", b"c"):
        flows.of(name, 1).learn(0, 1.0)
    assert flows.of(b"a", 1).has_learnt
    assert not flows.of(b"b", 1).has_learnt


def test_a_flow_that_is_larger_than_all_may_be_is_remembered_alone() -> None:
    flows = FlowDurations(most_nodes=10)
    flows.of(b"small", 5).learn(0, 1.0)
    flows.of(b"large", 100).learn(0, 1.0)
    assert flows.of(b"large", 100).has_learnt
    assert not flows.of(b"small", 5).has_learnt
    assert not flows.of(b"large", 100).has_learnt


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6)), max_size=60))
def test_memory_is_bounded_whatever_is_run(runs: list[tuple[int, int]]) -> None:
    flows = FlowDurations(most_flows=4, most_nodes=12)
    for name, size in runs:
        found = flows.of(bytes([name]), size)
        assert len(found.seconds) == size
        kept = [len(known.seconds) for known in flows._known.values()]
        assert len(kept) <= 4
        assert sum(kept) <= 12
        assert flows._nodes == sum(kept)
    flows.forget()
    assert not flows._known
