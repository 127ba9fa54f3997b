"""Random definitions over the graph surface: ports, conditions, error branches, routers, cycles within and beside cycles.

Each edge that leads back counts its rounds by what a step of its own cycle put out, so every cycle ends (or runs into
the visit limit, when it is written so). What they ask of the data is the same whichever step is faster.
"""

from random import Random
from typing import Any

from hypothesis import strategies as st

from app.engine.language.plan import ALWAYS, ANY_PORT, FAILED, Edge, Plan
from tests.simulation.definitions import NODES

ROUTER, ROUTER_PORTS = NODES[-1]
ENGINE_PORTS = ("failed", "always")
ENDINGS = ("< 1", "< 2", "< 3", "% 2 != 1", "% 3 != 2")
"""How the number of a visit is asked whether there is to be another round."""


class _Grapher:
    """Writes one definition."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._nodes: dict[str, dict[str, Any]] = {}
        self._ports: dict[str, tuple[str, ...]] = {}
        self._edges: list[dict[str, Any]] = []
        self._after: dict[str, set[str]] = {}
        """Itself and the steps that come after each one, by edges that lead onward."""

    def definition(self, size: int) -> dict[str, Any]:
        for _ in range(size):
            self._add_node()
        if self._rarely(3):
            self._add_router()
        for _ in range(self._random.choice((0, 1, 1, 2, 2, 3))):
            self._lead_back()
        self._ask_at_nodes()
        self._random.shuffle(self._edges)
        graph: dict[str, Any] = {"nodes": list(self._nodes.values()), "edges": self._edges}
        if self._rarely(20):
            graph["timeout_seconds"] = self._random.randint(1, 40)
        return graph | {"start_node": "s1"}

    def _rarely(self, times: int) -> bool:
        return self._random.randrange(times) == 1

    def _add_node(self) -> None:
        near = list(self._nodes)[-4:]
        node, ports = self._random.choice(NODES)
        name = self._add(node, ports)
        for source in self._random.sample(near, min(len(near), self._random.choice((1, 1, 2, 3)))):
            self._lead_on(source, self._port(source), name)

    def _add(self, node: dict[str, Any], ports: tuple[str, ...]) -> str:
        name = f"s{len(self._nodes) + 1}"
        self._nodes[name] = {"id": name, **node, **self._policies()}
        self._ports[name], self._after[name] = ports, {name}
        return name

    def _add_router(self) -> None:
        """Let a step choose one of several that lead back to it, as agents choose their tools."""
        above = self._random.choice(list(self._nodes))
        router = self._add(ROUTER, ROUTER_PORTS)
        self._lead_on(above, self._port(above), router)
        for port in ROUTER_PORTS[: self._random.choice((1, 2, 2, 3))]:
            tool = self._add(*NODES[0])
            self._lead_on(router, port, tool)
            self._back(tool, router)
        for source in list(self._nodes)[-3:]:
            if self._rarely(2):
                end = self._add(*NODES[0])
                self._lead_on(source, self._port(source), end)
                self._lead_on(router, self._random.choice((*ROUTER_PORTS, "")), end)

    def _port(self, source: str) -> str:
        return self._random.choice((*self._ports[source], "", "", "", *ENGINE_PORTS))

    def _lead_on(self, source: str, port: str, target: str) -> None:
        condition = self._random.choice(
            (
                "true",
                "false",
                f"(steps?.{source}?.output?.visit ?? 0) % 2 == 0",
                f"size(steps?.{source}?.output?.items ?? []) > 1",
            )
        )
        if self._rarely(30):
            condition = "'no boolean'"
        self._edge(source, port, target, condition if self._rarely(4) else "")
        for after in self._after.values():
            if source in after:
                after.add(target)

    def _lead_back(self) -> None:
        source = self._random.choice(list(self._nodes))
        before = [name for name, after in self._after.items() if source in after]
        self._back(source, self._random.choice(before))

    def _back(self, source: str, target: str) -> None:
        counter = self._random.choice((source, source, target))
        condition = f"(steps?.{counter}?.output?.visit ?? 9) {self._random.choice(ENDINGS)}"
        if self._rarely(40):
            condition = "true"
        self._edge(source, self._port(source), target, condition)

    def _edge(self, source: str, port: str, target: str, condition: str) -> None:
        edge = {"source": source, "target": target}
        edge |= {"port": port} if port else {}
        edge |= {"condition": condition} if condition else {}
        same = (source, port, target)
        if all((e["source"], e.get("port", ""), e["target"]) != same for e in self._edges):
            self._edges.append(edge)

    def _policies(self) -> dict[str, Any]:
        policies: dict[str, Any] = {}
        if self._rarely(3):
            delay = self._random.choice((0, 1, 3))
            policies["retry"] = {"max_attempts": 3, "initial_delay_seconds": delay}
        if self._rarely(4):
            policies["on_error"] = "continue"
        return policies

    def _ask_at_nodes(self) -> None:
        for node in self._nodes.values():
            if self._rarely(6):
                node["when"] = self._random.choice(("false", "true", "1 < 2"))
            if self._rarely(6):
                node["join"] = "any"


def graphs() -> st.SearchStrategy[dict[str, Any]]:
    """Return definitions over the graph surface."""
    return st.builds(
        lambda size, seed: _Grapher(Random(seed)).definition(size),
        st.integers(1, 8),
        st.integers(0, 2**64 - 1),
    )


def is_steady(plan: Plan) -> bool:
    """Tell whether the end of a run is the same whichever step is faster.

    It is not when an iteration can be left behind unfinished: by the first of several ways to a step of the cycle
    (`join: any`), or by an edge that leads back while another step of its cycle runs beside its source.
    """
    regions = plan.regions
    steps = frozenset[str]().union(*regions.values())
    if any(plan.steps[step].join == "any" for step in steps):
        return False
    return not any(
        _runs_beside(plan, edge.source, step) for edge in plan.back for step in regions[edge]
    )


def _runs_beside(plan: Plan, one: str, other: str) -> bool:
    if one in plan._before(other) or other in plan._before(one):
        return False
    return not _exclude_each_other(_into(plan, one), _into(plan, other))


def _into(plan: Plan, step: str) -> list[Edge]:
    return [edge for edge in plan.edges if edge.target == step]


def _exclude_each_other(one: list[Edge], other: list[Edge]) -> bool:
    """Tell whether two steps hang at two ports of one step, which takes one of them only."""
    if len(one) != 1 or len(other) != 1 or one[0].source != other[0].source:
        return False
    ports = {one[0].port, other[0].port}
    return len(ports) == 2 and not ports & {ANY_PORT, ALWAYS, FAILED}
