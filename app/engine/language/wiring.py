"""Wire the steps of one level: who follows whom, by which port; and what of it cannot be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

from app.core.errors import Problem
from app.engine.language.plan import ALWAYS, ANY_PORT, FAILED, Edge
from app.engine.language.problems import nearest, pointer

ENGINE_PORTS = (FAILED, ALWAYS)


@dataclass(frozen=True, slots=True)
class WiredStep:
    """What wiring must know of a step. `ports` is None for a node type that is not known."""

    id: str
    at: str
    ports: tuple[str, ...] | None
    depends_on: Sequence[str] | None
    may_be_passed_by: bool
    """Whether it can be skipped, or fail, while what follows goes on."""
    waits_for_all: bool = True


@dataclass(slots=True)
class Wiring:
    """The edges of one level, the order of its steps, and for each step those that ran before it."""

    edges: list[Edge] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    before: dict[str, frozenset[str]] = field(default_factory=dict)
    """Steps that may have run before it."""
    settled: dict[str, frozenset[str]] = field(default_factory=dict)
    """Steps of which it is known, whenever it runs, what became of them."""
    certain: dict[str, frozenset[str]] = field(default_factory=dict)
    """Steps that have run and succeeded whenever it runs."""
    problems: list[Problem] = field(default_factory=list)


def wire(steps: Sequence[WiredStep]) -> Wiring:
    """Return the wiring of a level."""
    wiring = Wiring()
    by_id = {step.id: step for step in steps}
    for position, step in enumerate(steps):
        above = steps[position - 1].id if position else None
        for edge in _edges(step, above, by_id, wiring.problems):
            wiring.edges.append(edge)
    _order(wiring, by_id)
    _look_back(wiring, by_id)
    return wiring


def look_back(edges: Sequence[Edge], steps: Sequence[WiredStep]) -> Wiring:
    """Return the wiring of edges without a cycle."""
    wiring = Wiring(list(edges))
    by_id = {step.id: step for step in steps}
    _order(wiring, by_id)
    _look_back(wiring, by_id)
    return wiring


def _edges(
    step: WiredStep, above: str | None, by_id: Mapping[str, WiredStep], problems: list[Problem]
) -> Iterator[Edge]:
    if step.depends_on is None:
        if above is not None:
            yield Edge(above, ANY_PORT, step.id)
        return
    for position, text in enumerate(dict.fromkeys(step.depends_on)):
        at = step.at + pointer("depends_on", position)
        source, _, port = text.partition(".")
        if source not in by_id:
            detail = f"There is no step {source!r} on this level.{nearest(source, by_id)}"
            problems.append(Problem(at, "unknown_step", detail))
        elif port and not _has_port(by_id[source], port):
            ports = ", ".join((*(by_id[source].ports or ()), *ENGINE_PORTS))
            detail = f"The step {source!r} has no port {port!r}.{nearest(port, ports.split(', '))} It has: {ports}."
            problems.append(Problem(at, "unknown_port", detail))
        else:
            yield Edge(source, port or ANY_PORT, step.id)


def _has_port(step: WiredStep, port: str) -> bool:
    return step.ports is None or port in step.ports or port in ENGINE_PORTS


def _order(wiring: Wiring, by_id: Mapping[str, WiredStep]) -> None:
    sources: dict[str, dict[str, None]] = {step: {} for step in by_id}
    for edge in wiring.edges:
        sources[edge.target][edge.source] = None
    sorter = TopologicalSorter(sources)
    try:
        sorter.prepare()
        wiring.order = list(_as_written(sorter, list(by_id)))
    except CycleError as error:
        wiring.order = list(by_id)
        cycle = list(reversed(error.args[1]))
        detail = (
            f"The steps wait for each other: {' → '.join(cycle)}. Remove one of these dependencies."
        )
        wiring.problems.append(Problem(by_id[cycle[0]].at + "/depends_on", "cycle", detail))
        wiring.edges.clear()


def _as_written(sorter: TopologicalSorter[str], names: Sequence[str]) -> Iterator[str]:
    """Yield the steps in the order of the definition, except that each stands after those it depends on."""
    positions = {name: position for position, name in enumerate(names)}
    ready: list[int] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, positions[name])
        name = names[heappop(ready)]
        sorter.done(name)
        yield name


def _look_back(wiring: Wiring, by_id: Mapping[str, WiredStep]) -> None:
    incoming: dict[str, list[Edge]] = {step: [] for step in by_id}
    for edge in wiring.edges:
        incoming[edge.target].append(edge)
    for step in wiring.order:
        edges = incoming[step]
        settled = [wiring.settled[edge.source] | {edge.source} for edge in edges]
        succeeded = [_succeeded(edge, wiring, by_id[edge.source]) for edge in edges]
        wiring.before[step] = frozenset().union(
            *(wiring.before[edge.source] | {edge.source} for edge in edges)
        )
        wiring.settled[step] = (
            _union(settled) if by_id[step].waits_for_all else _intersection(settled)
        )
        wiring.certain[step] = _intersection(succeeded)


def _succeeded(edge: Edge, wiring: Wiring, source: WiredStep) -> frozenset[str]:
    """Return the steps that have succeeded when this edge is taken."""
    if source.may_be_passed_by or edge.port in ENGINE_PORTS:
        return wiring.certain[edge.source]
    return wiring.certain[edge.source] | {edge.source}


def _union(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


def _intersection(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    return frozenset.intersection(*sets) if sets else frozenset()
