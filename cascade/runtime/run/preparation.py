"""Everything that can be known to be wrong before anything runs; and what running starts from."""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import attrs

from cascade.graph.build import build_steps
from cascade.graph.nested import PAUSE_EVERY, Hold, has_placeholders
from cascade.graph.nodes import NO_TERMS, Graph, MapNode, Node, task_of
from cascade.graph.reach import may_grow
from cascade.graph.slots import Constant, Injected, Nested, Operand
from cascade.model.calls.signals import SignalTask
from cascade.model.errors import CapacityError, GraphError, InputError
from cascade.model.inputs import Param, Resource
from cascade.model.policies import exact
from cascade.model.shown.secrets import MARK, keep_secret, redacted
from cascade.model.tasks import Task
from cascade.model.typed.declared import REQUIRED, Input
from cascade.planning.layout import Goes, Layout, Place, certain_nodes, lay_out
from cascade.planning.node_durations import NodeDurations
from cascade.planning.solve import Plan, check_plan, solve_steps
from cascade.runtime.admission.pool import Pool, shown
from cascade.runtime.context.resources import check_providers
from cascade.runtime.context.settings import Settings
from cascade.runtime.foundation.fairness import paced
from cascade.runtime.foundation.lazy_import import check_function
from cascade.runtime.run.ranking import Ranking
from cascade.runtime.scheduling.turns.turn_code import TurnCode
from cascade.runtime.signals.board import note_signals


@attrs.frozen(eq=False)
class Prepared:
    """A flow that can be run: graph, plan, layout, resolved inputs.

    Attributes:
        ranks: For each node, how urgent it is where places are scarce; ``None`` if that does not matter.
        durations: Where to note how long its nodes take; ``None`` if that does not matter.
        shape: What it has in common with flows that can be run by putting their calls into its graph.
        code: Makes turns of this shape, if there can be code for it.
        has_met: Whether the shape has come up twice, so that it is known whether there can be code for it.
    """

    graph: Graph
    plan: Plan
    layout: Layout
    inputs: Mapping[str, Any] = attrs.field(repr=False)
    ranks: Sequence[float] | None = None
    durations: NodeDurations | None = None
    shape: Hashable = None
    code: TurnCode | None = None
    has_met: bool = False

    def signals(self) -> list[SignalTask]:
        """The signals of the flow."""
        return [cast("SignalTask", self.graph.task(index)) for index in sorted(self.layout.special.signals)]

    def params(self) -> dict[str, Any]:
        """The parameters of the flow by name, as they may be shown: ``***`` for a secret one."""
        given = {key: value for key, value in self.graph.inputs.items() if isinstance(value, Param)}
        return {param.name: MARK if param.secret else self.inputs[key] for key, param in given.items()}


@attrs.frozen(eq=False)
class Preparation:
    """Makes flows of a run ready, with what holds for all of them.

    Attributes:
        settings: How they are run.
        params: What was given for their Params.
        providers: Resource providers by name.
        pool: The capacity there is.
        ranking: Says how urgent nodes are.
        goes: Which calls leave this process; ``None``: none.
        can_be_remote: Whether tasks with ``mode="remote"`` can run at all.
    """

    settings: Settings
    params: Mapping[str, Any] = attrs.field(repr=False)
    providers: Mapping[str, Resource]
    pool: Pool
    ranking: Ranking
    goes: Goes | None = None
    can_be_remote: bool = True

    async def prepare(self, target: Any, hold: Hold, *, is_whole: bool) -> Prepared:
        """Build, plan and check a flow.

        Args:
            target: What to run.
            hold: What large literal arguments are remembered by.
            is_whole: Whether this is all of the flow, so that a parameter nobody knows is a mistake.

        Raises:
            GraphError: If the flow contradicts itself.
            InputError: If inputs are missing, malformed or unknown.
            CapacityError: If a node that is certain to run claims more than there is.
            ResourceNotFoundError: If a resource has no provider.
        """
        settings = self.settings
        graph = await paced(build_steps(target, hold))
        inputs = resolve_inputs(graph, self.params, is_whole=is_whole)
        if inputs:
            await paced(_refuse_placeholders(graph, inputs, hold))
        _refuse_resources(graph.target)
        check_providers(self.providers, graph.injections)
        if settings.solver is not None:
            plan = settings.solver(graph)
            check_plan(plan)
        else:
            plan = await paced(solve_steps(graph))
        layout = await paced(lay_out(graph, plan.levels, self.goes))
        if layout.special.signals:
            _check_signals(graph, layout)
        await paced(
            _check_calls(graph, layout, self.pool, inputs, has_executor=hasattr(settings.executor, "execute"))
        )
        if not self.can_be_remote:
            _refuse_remote(graph, layout)
        prepared = Prepared(graph, plan, layout, inputs)
        is_ranked = settings.schedule == "eager" and _is_scarce(graph, layout)
        return await self._ranked(prepared) if is_ranked else prepared

    async def _ranked(self, prepared: Prepared) -> Prepared:
        ranks, durations = await paced(self.ranking.steps(prepared.graph))
        return attrs.evolve(prepared, ranks=ranks, durations=durations)

    async def recall(self, prepared: Prepared, recorded: Mapping[bytes, bytes]) -> Prepared:
        """*prepared*, with ranks by what the store of the run has recorded of earlier runs."""
        self.ranking.recorded = recorded
        return await self._ranked(prepared) if recorded and prepared.ranks is not None else prepared


def _is_scarce(graph: Graph, layout: Layout) -> bool:
    """Whether some of the nodes may have to wait for a thread, a process or a resource."""
    if Place.THREAD in layout.places or Place.REMOTE in layout.places:
        return True
    for index in layout.own:
        row, task = graph.rows[index], graph.task(index)
        if (isinstance(row, Node) and row.terms.amounts) or not (task.is_async or task.mode == "inline"):
            return True
    return False


def _refuse_placeholders(graph: Graph, inputs: Mapping[str, Any], hold: Hold) -> Generator[None, None, None]:
    """See that what was given is values: nothing would be put in the place of what stands for one."""
    for key, value in inputs.items():
        if (yield from has_placeholders(value, hold)):
            what = f"{graph.inputs[key].name!r} is given a {type(value).__name__}"
            remedy = "inputs are values; run it first, or pass it as an argument"
            raise InputError([f"{what} that is, or contains, a placeholder such as a lazy result, but {remedy}"])


def _refuse_resources(target: Operand) -> None:
    """See that the value of a flow is no resource: that would be closed before anybody could use it."""
    pending = [target]
    while pending:
        operand = pending.pop()
        if isinstance(operand, Injected):
            raise GraphError(
                f"the resource {operand.name!r} cannot be the value of a flow; inject it into a task, and let "
                "that return what is wanted"
            )
        if isinstance(operand, Nested):
            pending.extend(operand.operands)


def resolve_inputs(graph: Graph, params: Mapping[str, Any], *, is_whole: bool) -> dict[str, Any]:
    """The values of all Params and Envs of *graph*, by key.

    Raises:
        InputError: Listing all that are missing, malformed or unknown.
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    for key, given in graph.inputs.items():
        if given.secret:
            keep_secret(*_texts_of(given, params))
        try:
            found[key] = _value(given, params)
        except ValueError as error:
            problems.append(str(error))
        else:
            if given.secret:
                keep_secret(found[key])
    known = {given.name for given in graph.inputs.values() if isinstance(given, Param)}
    unknown = [name for name in params if name not in known]
    if unknown and is_whole and not _can_grow(graph):
        problems += [_unknown(name, known) for name in unknown]
    if problems:
        raise InputError([redacted(problem) for problem in problems])
    return found


def _value(given: Input[Any], params: Mapping[str, Any]) -> Any:
    source = params if isinstance(given, Param) else os.environ
    return given.convert(source[given.name]) if given.name in source else given.resolved_default()


def _texts_of(given: Input[Any], params: Mapping[str, Any]) -> list[Any]:
    """What a secret input may be written as, before it is converted: an error may quote that."""
    source = params if isinstance(given, Param) else os.environ
    return [value for value in (source.get(given.name), given.default) if value is not REQUIRED]


def _unknown(name: str, known: Collection[str]) -> str:
    import difflib  # here, as it is needed for errors only

    alike = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {alike[0]!r}? " if alike else ""
    return f"unknown parameter {name!r} ({hint}the flow has: {', '.join(map(repr, sorted(known))) or 'none'})"


def _can_grow(graph: Graph) -> bool:
    calls = (node.call for node in graph.iterate() if isinstance(node, Node))
    return any(may_grow(call.task, (call.args, call.kwargs, call.columns)) for call in calls)


def _check_calls(
    graph: Graph, layout: Layout, pool: Pool, inputs: Mapping[str, Any], *, has_executor: bool
) -> Generator[None, None, None]:
    """See that worker processes can get the functions that they are to call, and that static claims fit."""
    if not has_executor:
        for task in dict.fromkeys((*map(graph.task, layout.own), *_undos(graph, layout))):
            if task.mode == "process":
                check_function(task)
    claiming: list[Node] = []
    for number, index in enumerate(layout.own):
        row = graph.rows[index]
        if isinstance(row, Node) and any(isinstance(amount, Constant) for _, amount in row.terms.amounts):
            claiming.append(row)
        if not number % PAUSE_EVERY:
            yield
    if not claiming:
        return
    certain = yield from certain_nodes(graph)
    for number, node in enumerate(claiming):
        if certain[node.index] and _makes_attempts(node):
            _check_claim(node, pool)
        if not number % PAUSE_EVERY:
            yield


def _refuse_remote(graph: Graph, layout: Layout) -> None:
    """See that no task is declared for a remote executor, as there is none."""
    for task in dict.fromkeys((*map(graph.task, layout.own), *_undos(graph, layout))):
        if task.mode == "remote":
            raise GraphError(
                f'{task.name!r} is declared with mode="remote", and the run has no remote executor; give '
                'executor="dask:local", "ray:local" or a RemoteExecutor'
            )


def _undos(graph: Graph, layout: Layout) -> Iterator[Task[..., Any]]:
    """The tasks that undo nodes of *graph*."""
    for index in layout.own:
        row = graph.rows[index]
        if isinstance(row, Node) and row.terms.undo is not None:
            yield task_of(row.terms.undo)


def _check_signals(graph: Graph, layout: Layout) -> None:
    """See that nothing is said of signals that has no meaning for them, and that those of one name are alike."""
    declared: dict[str, SignalTask] = {}
    for index in sorted(layout.special.signals):
        row, task = graph.rows[index], cast("SignalTask", graph.task(index))
        terms = row.terms if isinstance(row, Node) else NO_TERMS
        if terms != attrs.evolve(NO_TERMS, on_skip=terms.on_skip, conditions=terms.conditions, after=terms.after):
            raise GraphError(
                f"signal {task.name!r} is not run, so it takes no retry, cache, constraints or with_timeout; its "
                "timeout is signal(..., timeout=)"
            )
        note_signals(declared, [task])


def _makes_attempts(node: Node) -> bool:
    """Whether *node*, once it comes to run, certainly makes an attempt: it finds no result, and has an item."""
    if isinstance(node, MapNode):
        columns = [operand.value for _, operand in node.columns if isinstance(operand, Constant)]
        return bool(columns) and all(columns)
    return node.terms.cache is None


def _static(amounts: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: amount.value for name, amount in amounts if isinstance(amount, Constant)}


def _check_claim(node: Node, pool: Pool) -> None:
    amounts = _static(node.terms.amounts)
    excess = pool.excess({name: exact(amount, name) for name, amount in amounts.items()})
    if excess is not None:
        name, amount, total = excess
        label = None if node.terms.hints.label is None else node.terms.hints.label.text()
        raise CapacityError(node.name, str(name), shown(amount), shown(total), label)
