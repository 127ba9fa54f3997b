"""Open the credentials that an attempt uses, just before it, and say what of it is to be kept out of all that is stored."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import AutomateError
from app.engine.attempt.answers import Refused
from app.engine.attempt.context import AttemptContext
from app.engine.attempt.secrets import AttemptSecrets, derived
from app.engine.credentials.vault import Opened, OwnersVault
from app.engine.guards.attempt import require_credential
from app.engine.language.plan import Step, StepSecrets
from app.engine.planning.transitions import Failed
from app.engine.sdk import Fail


async def unlock(
    step: Step, context: AttemptContext, scope: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what the config of a step is rendered on: with its `secrets`, if it uses any.

    Raises:
        Refused: a credential is not there, of another kind, or cannot be opened.
    """
    if step.secrets is None:
        return scope
    if context.vault is None:
        raise _refused(
            "no_credentials_here",
            "Credentials can be used by steps of a worker only, not by `node test`.",
        )
    try:
        opened = await context.vault.open(step.secrets.names)
    except AutomateError as fault:
        raise _refused(fault.code, fault.detail) from None
    _require(step.secrets, opened)
    try:
        require_credential(*opened, *(one.id for one in opened.values()))
    except Fail as held:
        raise _refused(held.code, held.message) from None
    context.scrubber.add(value for one in opened.values() for value in one.data.secrets())
    context.secrets = _secrets(step.secrets, opened, context, context.vault)
    read = {name: opened[name].data.in_expressions() for name in step.secrets.in_expressions}
    scope = {**scope, "secrets": read}
    try:
        context.scrubber.add(derived(step.secrets.expressions, scope))
    except AutomateError as fault:
        raise _refused(fault.code, fault.detail) from None
    return scope


def _require(needs: StepSecrets, opened: Mapping[str, Opened]) -> None:
    for use in needs.uses:
        found = opened.get(use.name)
        if found is None:
            message = f"The owner of this run has no credential {use.name!r} any more: make it again, then retry the step."
            raise _refused("unknown_credential", message)
        if use.kinds and found.data.kind not in use.kinds:
            message = f"The credential {use.name!r} is of kind {found.data.kind}; this takes {', '.join(use.kinds)}."
            raise _refused("wrong_credential_kind", message)


def _secrets(
    needs: StepSecrets, opened: Mapping[str, Opened], context: AttemptContext, vault: OwnersVault
) -> AttemptSecrets:
    async def access_token(name: str, refused: str | None) -> str:
        return await vault.access_token(opened[name], refused)

    return AttemptSecrets(
        scrubber=context.scrubber,
        named={name: opened[name].credential for name in needs.named},
        in_config={name: opened[name].allowed_hosts for name in needs.in_expressions},
        ids={name: one.id for name, one in opened.items()},
        access_token=access_token,
        uses={(name, None): None for name in needs.in_expressions},
    )


def _refused(code: str, message: str) -> Refused:
    return Refused(Failed(code, message, again=False))
