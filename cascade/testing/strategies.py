"""Random flows for Hypothesis."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from cascade.testing.building import RandomFlow
from cascade.testing.descriptions import Ask, Body, Call, Choice, Echo, Fail, Give, Mode, Pack, Turns

MOST_NODES: Final = 12
VALUES: Final = (0, 1, 1, None, False, "a", "a")
KEYS: Final = (0, 1, None, "a")
TIMEOUT: Final = 5.0
_MODES: Final[tuple[Mode, ...]] = ("inline", "inline", "async", "thread")


def flows(*, most: int = MOST_NODES, policies: bool = True) -> st.SearchStrategy[RandomFlow]:
    """Flows of all that a flow can say; ``build()`` makes one.

    In them are sync, async and inline tasks, maps (also empty), conditions, routers, sequences, pipelines,
    partials, flows that tasks return, loops, and tasks that fail. With *policies* also retries, timeouts, claims
    that are given and claims that are computed, caches, resources of both scopes, tasks that wait, and tasks that
    swallow their cancellation. All set a context variable, and complain if they see that of another.

    Waits are meant for virtual time (:func:`cascade.testing.virtual_backends`, :func:`cascade.testing.simulate`).

    Args:
        most: Nodes in a flow, at most, not counting those in flows that tasks return.
        policies: Whether anything is said about how calls are run.
    """
    return descriptions(most=most, policies=policies).map(RandomFlow)


@st.composite
def descriptions(
    draw: st.DrawFn, prefix: str = "n", depth: int = 2, most: int = MOST_NODES, *, policies: bool = False
) -> Any:
    """A flow: nodes, each of which may use those before it, and a target made of some of them."""
    pool: list[Call | Choice] = []
    for number in range(draw(st.integers(most // 2, most))):
        kind = draw(st.sampled_from(["call", "call", "choice", "call", "choice", "map"]))
        if kind == "choice" and pool:
            pool.append(draw(choices(pool, f"{prefix}{number}")))
        else:
            name = f"{prefix}{number}"
            pool.append(draw(calls(pool, name, depth, is_map=kind == "map", policies=policies)))
    last = st.just(pool[-1])
    several = st.lists(st.sampled_from(pool[-6:]), min_size=2, max_size=4)
    return draw(st.one_of(last, several, several, st.builds(lambda part: {"t": (part, 5)}, several)))


def mostly() -> st.SearchStrategy[bool]:
    """True in nine cases of ten."""
    return st.sampled_from([True] * 9 + [False])


def rarely() -> st.SearchStrategy[bool]:
    """True in one case of five."""
    return st.sampled_from([False] * 4 + [True])


def arguments(pool: list[Call | Choice]) -> st.SearchStrategy[Any]:
    """Something that a call can be given."""
    if not pool:
        return st.sampled_from(VALUES)
    node = st.sampled_from([*pool[-4:], *pool, *pool[-4:]])
    nested = st.builds(lambda one, other: [one, {"k": (other,)}], node, node)
    return st.one_of(node, node, node, st.sampled_from([*VALUES, *pool]), nested)


@st.composite
def choices(draw: st.DrawFn, pool: list[Call | Choice], name: str) -> Choice:
    """A choice between nodes that there are.

    Routes are calls and choices only: whether a skipped step hands on a container or a plain value that a router
    chose for it is a question of its own, which is left out.
    """
    node = st.sampled_from(pool)
    routes = {key: draw(node) for key in draw(st.sampled_from([KEYS, KEYS, KEYS[:2]]))}
    plain = [node for node in pool if isinstance(node, Call) and isinstance(node.body, Give) and not node.column]
    likely: st.SearchStrategy[Any] = st.sampled_from(plain or pool)
    selector = draw(likely if draw(mostly()) else arguments(pool))
    if draw(mostly()):
        return Choice(selector, routes, default=draw(st.sampled_from(pool)), name=name)
    return Choice(selector, routes, name=name)


@st.composite
def calls(
    draw: st.DrawFn, pool: list[Call | Choice], name: str, depth: int, *, is_map: bool, policies: bool
) -> Call:
    """A call, plain or mapped, of nodes that there are."""
    before: list[Call] = [node for node in pool if isinstance(node, Call)]
    is_conditional, is_late = draw(rarely()), draw(rarely())
    body = draw(bodies(name, depth, policies=policies))
    mode: Mode = draw(st.sampled_from(_MODES))
    return Call(
        name,
        Pack() if is_map and isinstance(body, Turns) else body,
        tuple(draw(st.lists(arguments(pool), min_size=1, max_size=3))),
        conditions=tuple(draw(st.lists(arguments(pool), min_size=1, max_size=2))) if is_conditional else (),
        on_skip=draw(st.sampled_from(["pass", "pass", "skip"])),
        after=(draw(st.sampled_from(before)),) if before and is_late else (),
        column=draw(st.lists(arguments(pool), max_size=3)) if is_map else None,
        mode=mode,
        **draw(_policies(before, is_plain=not is_map and not isinstance(body, Turns), mode=mode))
        if policies
        else {},
    )


@st.composite
def _policies(draw: st.DrawFn, before: list[Call], *, is_plain: bool, mode: Mode) -> dict[str, Any]:
    """What is said about how a call is run."""
    if not is_plain:
        return {"claims": draw(_claims(before))} if draw(rarely()) else {}
    said: dict[str, Any] = {"style": draw(st.sampled_from(["plain", "plain", "partial", "pipeline"]))}
    if draw(rarely()):
        said["claims"] = draw(_claims(before))
    if draw(rarely()):
        said["attempts"] = draw(st.integers(2, 3))
        said["flaky"] = draw(st.integers(0, 3))
    if draw(rarely()):
        said["timeout"] = TIMEOUT
    if mode == "async" and draw(st.booleans()):
        said["pause"] = draw(st.sampled_from([0.1, 0.1, 0.2, 1.0, 2 * TIMEOUT]))
        said["swallows"] = draw(st.booleans())
        if draw(rarely()):
            said["timeout"], said["pause"] = TIMEOUT, 2 * TIMEOUT
    if draw(rarely()):
        said["injects"] = draw(st.sampled_from([("run",), ("task",), ("run", "task")]))
    said["is_cached"] = draw(rarely())
    return said


def _claims(before: list[Call]) -> st.SearchStrategy[dict[str, Any]]:
    amount: st.SearchStrategy[Any] = st.integers(0, 2)
    numbers = [call for call in before if isinstance(call.body, Give) and type(call.body.value) is int]
    if numbers:
        amount = st.one_of(amount, st.sampled_from(numbers), st.sampled_from(before))
    return st.dictionaries(st.sampled_from(["gpu", "memory"]), amount, min_size=1)


def bodies(name: str, depth: int, *, policies: bool) -> st.SearchStrategy[Body]:
    """What a function does; mostly it works."""
    works: list[Body] = [*[Give(value) for value in VALUES], Echo(), Pack(), Pack()]
    some: st.SearchStrategy[Body] = st.sampled_from([*works, Fail(on="a")] * 2 + [Fail(), Turns(3)])
    if not depth:
        return some
    asking: st.SearchStrategy[Body] = descriptions(f"{name}_", depth - 1, most=4, policies=policies).map(Ask)
    return mostly().flatmap(lambda is_plain: some if is_plain else asking)
