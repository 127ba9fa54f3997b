"""Plug-ins that spend, and that call hosts which their configs do not name as URLs."""

from app.engine.sdk import Context, Fail, Node, NodeConfig
from tests.integration.engine.gates import GATES


class Amount(NodeConfig):
    amount: float
    fails: bool = False


class Spend(Node[Amount, float]):
    """Spend some of the budget `credits`; it says so before."""

    type = "spend"
    spends = ("credits",)
    example = {"amount": 1}

    async def run(self, config: Amount, context: Context) -> float:
        context.spend("credits", config.amount, "points")
        if config.fails:
            raise Fail("It was spent in vain.")
        return config.amount


class SpendUnasked(Node[Amount, float]):
    """Spend some of the budget `credits` without a word before."""

    type = "spend_unasked"
    example = {"amount": 1}

    async def run(self, config: Amount, context: Context) -> float:
        context.spend("credits", config.amount / 2)
        context.spend("credits", config.amount / 2)
        return config.amount


class Place(NodeConfig):
    gate: str


class Crowd(Node[Place, None]):
    """Stand before a gate of the test, and count how many stand there at once."""

    type = "crowd"
    example = {"gate": "a"}

    async def run(self, config: Place, context: Context) -> None:
        del context
        gate = GATES[config.gate]
        gate.entered += 1
        gate.most_inside = max(gate.most_inside, gate.entered - gate.left)
        await gate.opened.wait()
        gate.left += 1


class Target(NodeConfig):
    target: str


class CallHost(Node[Target, int]):
    """Call an address."""

    type = "call_host"
    example = {"target": "https://example.com"}

    async def run(self, config: Target, context: Context) -> int:
        answer = await context.http.get(config.target, follow_redirects=True)
        return answer.status_code


class CallHostAlone(CallHost):
    """Call an address from a process of its own."""

    type = "call_host_alone"
    isolation = "process"
