"""What a credential holds, checked when it is saved: no answer repeats any of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from app.core.errors import InvalidInput, Problem
from app.engine.credentials.credential import ANY_HOST, permits
from app.engine.credentials.kinds import KINDS, CredentialData
from app.engine.language.problems import pointer
from app.engine.language.sentences import sentence_of
from app.models import Credential


def read_data(kind: str, data: Mapping[str, Any], hosts: Sequence[str]) -> CredentialData:
    """Return the data of a credential, checked.

    Raises:
        InvalidInput: it does not fit its kind, or the hosts do not fit it; no value is repeated.
    """
    model = KINDS[kind]
    problems = []
    if model.over_http and not hosts:
        problems.append(_no_hosts(kind))
    try:
        read = model.model_validate(data)
    except ValidationError as error:
        problems += _problems(error, model)
        raise _invalid(problems) from None
    for host in read.hosts():
        if hosts and not permits(hosts, host):
            detail = f"The credential itself is sent to {host}: add that to `allowed_hosts`."
            problems.append(Problem("/allowed_hosts", "host_not_allowed", detail))
    if problems:
        raise _invalid(problems)
    return read


def require_no_more(credential: Credential, kind: str, hosts: Sequence[str]) -> None:
    """Refuse what would send a secret elsewhere by the word of somebody who may not know it.

    Raises:
        InvalidInput: the data has to be given again.
    """
    if kind != credential.kind:
        raise _invalid([_data_needed("Another kind needs its own `data`: add it.")])
    if KINDS[kind].over_http and not hosts:
        raise _invalid([_no_hosts(kind)])
    if not set(hosts) <= {*credential.allowed_hosts} and ANY_HOST not in credential.allowed_hosts:
        raise _invalid([_data_needed("To allow more hosts, give the `data` again.")])
    if kind == "oauth2_client_credentials" and set(hosts) != set(credential.allowed_hosts):
        raise _invalid([_data_needed("To change the hosts of this kind, give the `data` again.")])


def _no_hosts(kind: str) -> Problem:
    detail = f"A credential of kind {kind} needs `allowed_hosts`: the hosts that it may be sent to, such as api.example.com."
    return Problem("/allowed_hosts", "missing_field", detail)


def _data_needed(detail: str) -> Problem:
    return Problem("/data", "missing_field", detail)


def _problems(error: ValidationError, model: type[CredentialData]) -> Sequence[Problem]:
    """Return what does not fit; of fields that are not known, not even the name, which may be a value by mistake."""
    problems = []
    fields = ", ".join(model.model_fields)
    for fault in error.errors(include_url=False, include_input=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if name and fields and name not in model.model_fields:
            detail = f"`data` has a field that this kind does not know. The fields are: {fields}."
            problems.append(Problem("/data", "unknown_field", detail))
        else:
            at, subject = ("/data" + pointer(name), f"`{name}`") if name else ("/data", "`data`")
            problems.append(Problem(at, fault["type"], sentence_of(fault, subject)))
    return problems


def _invalid(problems: Sequence[Problem]) -> InvalidInput:
    return InvalidInput("The credential does not hold: mend what `errors` lists.", problems)
