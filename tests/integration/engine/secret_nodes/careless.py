"""Node types that let slip whatever they are given."""

import asyncio
import base64
from typing import Any

from app.engine.sdk import (
    Context,
    CredentialName,
    Expr,
    Fail,
    Node,
    NodeConfig,
    Retry,
    Suspend,
    credential_field,
    expression_field,
)


class Config(NodeConfig):
    how: str = "return"
    told: str = ""
    credential: CredentialName | None = credential_field(default=None)
    host: str | None = None
    url: str | None = None
    sees: Expr | None = expression_field(default=None)


async def slip(config: Config, context: Context) -> Any:
    """Let everything slip in the way that the config says."""
    held: dict[str, str] = {}
    if config.credential is not None:
        held = dict(await context.credential(config.credential, host=config.host))
    if config.url is not None:
        await context.http.get(config.url)
    everything = _dressed(config, held)
    context.log(f"x{config.told} {held}", level="warning", data=everything)
    context.attach_evidence("slip", everything, title=f"{config.told} {held}")
    if config.how == "hang":
        await asyncio.Event().wait()
    return _ended(config, context, everything)


def _dressed(config: Config, held: dict[str, str]) -> dict[str, Any]:
    told = {"told": config.told, "held": held}
    return {
        **told,
        "seen": None if config.sees is None else config.sees.evaluate(),
        "encoded": base64.b64encode(f"x{told}".encode()).decode(),
        "by value": {value: name for name, value in held.items()},
    }


def _ended(config: Config, context: Context, everything: dict[str, Any]) -> Any:
    told = f"{config.told} {everything}"
    match config.how:
        case "raise":
            _raise(told)
        case "fail":
            raise Fail("x" * 1_990 + told, data=everything)
        case "retry":
            raise Retry(told, data=everything)
        case "suspend":
            due = Fail(told, data=everything)
            return Suspend("timer", context.now(), due, shown=everything, data=everything)
        case "emit":
            context.emit_event("slip", correlation_id=config.told, payload=everything)
        case _:
            pass
    return everything


def _raise(told: str) -> None:
    try:
        int(told)
    except ValueError as error:
        raise RuntimeError(told) from error


class Careless(Node[Config, Any]):
    """Let everything slip."""

    type = "careless"
    takes_secrets = True

    async def run(self, config: Config, context: Context) -> Any:
        return await slip(config, context)


class CarelessAlone(Node[Config, Any]):
    """Let everything slip, in a process of its own."""

    type = "careless_alone"
    takes_secrets = True
    isolation = "process"

    async def run(self, config: Config, context: Context) -> Any:
        return await slip(config, context)
