"""Steps that stand before a gate of the test."""

import asyncio

from app.engine.guards.attempt import require_credential
from app.engine.sdk import Context, Fail, Node, NodeConfig
from tests.integration.engine.gates import GATES


class Config(NodeConfig):
    gate: str


class Gated(Node[Config, int]):
    """Wait until the gate is open; return how often an attempt has come to it."""

    type = "gated"
    example = {"gate": "a"}

    async def run(self, config: Config, context: Context) -> int:
        del context
        gate = GATES[config.gate]
        gate.entered += 1
        await gate.opened.wait()
        if gate.fails:
            raise Fail("The gate says no.")
        return gate.entered


class GatedAsking(Gated):
    """Stand before a gate, with an effect that must not be repeated unasked."""

    type = "gated_asking"
    on_lost = "ask"


class GatedStubborn(Gated):
    """Stand before a gate, and do not go when asked to: only when thrown out."""

    type = "gated_stubborn"

    async def run(self, config: Config, context: Context) -> int:
        gate = GATES[config.gate]
        try:
            return await super().run(config, context)
        except asyncio.CancelledError:
            await gate.opened.wait()
            raise
        finally:
            gate.left += 1


class WithCredential(NodeConfig):
    credential: str


class TakesCredential(Node[WithCredential, str]):
    """Take a credential, as the vault would open it for a step."""

    type = "takes_credential"
    example = {"credential": "stripe"}
    on_lost = "fail"

    async def run(self, config: WithCredential, context: Context) -> str:
        del context
        require_credential("an id", config.credential)
        return config.credential


class CallConfig(NodeConfig):
    gate: str
    url: str


class GatedCall(Node[CallConfig, int]):
    """Stand before a gate, then call."""

    type = "gated_call"
    example = {"gate": "a", "url": "http://127.0.0.1/"}
    on_lost = "fail"

    async def run(self, config: CallConfig, context: Context) -> int:
        GATES[config.gate].entered += 1
        await GATES[config.gate].opened.wait()
        answer = await context.http.get(config.url)
        return answer.status_code
