"""Random definitions over the steps surface, as people could write them: branches, joins, error branches, nested loops.

What they ask of the data is the same whichever step is faster, so that two runs can be compared.
"""

from random import Random
from typing import Any

from hypothesis import strategies as st

MAX_DEPTH = 3
PLAIN = {"type": "log", "config": {"message": "x"}}
NODES: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    (PLAIN, ("out",)),
    (PLAIN, ("out",)),
    ({"type": "merge"}, ("out",)),
    ({"type": "condition", "config": {"if": "true"}}, ("true", "false")),
    (
        {
            "type": "switch",
            "config": {
                "value": "1",
                "cases": [{"equals": 1, "port": "a"}, {"equals": 2, "port": "b"}],
            },
        },
        ("a", "b", "default"),
    ),
)


class _Writer:
    """Writes one definition."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0

    def definition(self, size: int) -> dict[str, Any]:
        definition: dict[str, Any] = {"steps": self._level(size, depth=1)}
        if self._rarely(20):
            definition["timeout_seconds"] = self._random.randint(1, 40)
        return definition

    def _rarely(self, times: int) -> bool:
        return self._random.randrange(times) == 1

    def _level(self, size: int, depth: int) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = []
        ports: dict[str, tuple[str, ...]] = {}
        for _ in range(size):
            self._count += 1
            name = f"s{self._count}"
            node, leaving = self._node(depth)
            step = {**node, "id": name, **self._policies(), **self._place(ports)}
            if self._rarely(4):
                step["when"] = self._when(step, steps, depth)
            if "steps" in step and self._rarely(3):
                self._loop_over_output(step)
            steps.append(step)
            ports[name] = leaving
        return steps

    def _node(self, depth: int) -> tuple[dict[str, Any], tuple[str, ...]]:
        if depth < MAX_DEPTH and self._rarely(4):
            return self._loop(depth), ("out",)
        return self._random.choice(NODES)

    def _loop(self, depth: int) -> dict[str, Any]:
        body = self._level(self._random.randint(1, 4), depth + 1)
        if self._rarely(3):
            return {"type": "while", "config": self._while_config(), "steps": body}
        config: dict[str, Any] = {
            "items": self._random.choice(("[]", "[1]", "[1, 2]", "[1, 2, 3, 4, 5]")),
            "concurrency": self._random.randint(1, 4),
            "on_item_error": self._random.choice(("fail", "continue")),
        }
        if self._rarely(12):
            config["items"] = self._random.choice(("now", "input.nothing", "[now] + 1"))
        elif self._rarely(5):
            config |= {"stop_when": "index == 1", "concurrency": 1}
        elif self._rarely(20):
            config["stop_when"] = "output"
        return {"type": "for_each", "config": config, "steps": body}

    def _while_config(self) -> dict[str, Any]:
        condition = self._random.choice(
            ("index < 0", "index < 2", "index < 4", "true", "index", "last == null")
        )
        return {"condition": condition, "max_iterations": self._random.randint(1, 4)}

    def _policies(self) -> dict[str, Any]:
        policies: dict[str, Any] = {}
        if self._rarely(3):
            policies["retry"] = {
                "max_attempts": self._random.randint(2, 4),
                "initial_delay_seconds": self._random.choice((0, 1, 3)),
            }
        if self._rarely(4):
            policies["on_error"] = "continue"
        return policies

    def _place(self, ports: dict[str, tuple[str, ...]]) -> dict[str, Any]:
        """Return where a step stands among those above it."""
        if not ports or self._rarely(3):
            return {}
        sources = self._random.sample(list(ports), self._random.randint(0, min(3, len(ports))))
        edges = []
        for source in sources:
            leaving = (*ports[source], "", "", "", "failed", "always")
            port = self._random.choice(leaving)
            edges.append(f"{source}.{port}" if port else source)
        place: dict[str, Any] = {"depends_on": edges}
        if self._rarely(3):
            place["join"] = "any"
        return place

    def _when(self, step: dict[str, Any], above: list[dict[str, Any]], depth: int) -> str:
        questions = ["false", "true", "1 < 2", "'no boolean'"]
        questions += ["index % 2 == 0"] if depth > 1 else []
        sources = self._certain_sources(step)
        if above and "depends_on" not in step:
            sources = [above[-1]["id"]]
        questions += [f"steps.{source}.status == 'succeeded'" for source in sources] * 3
        return self._random.choice(questions)

    def _loop_over_output(self, step: dict[str, Any]) -> None:
        sources = self._certain_sources(step)
        if sources and step["type"] == "for_each":
            step["config"]["items"] = f"steps?.{sources[0]}?.output?.items ?? [1, 2]"

    def _certain_sources(self, step: dict[str, Any]) -> list[str]:
        """Return steps whose fate is known, whichever step is faster, when this one runs."""
        if "join" in step:
            return []
        return [edge.partition(".")[0] for edge in step.get("depends_on", ())]


def definitions() -> st.SearchStrategy[dict[str, Any]]:
    """Return definitions: of many shapes, which hypothesis' own leaning towards zeros would not give."""
    return st.builds(
        lambda size, seed: _Writer(Random(seed)).definition(size),
        st.integers(1, 8),
        st.integers(0, 2**64 - 1),
    )
