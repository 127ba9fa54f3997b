"""`Prefer: wait=10` (RFC 7240): the answer comes when the run has come to something, or after so many seconds."""

import asyncio
import re
from typing import Any, Final

import orjson
from fastapi import Request, Response

from app.api.body import JSON_TYPE
from app.services.run_watch import Outcome, RunWatch
from app.services.triggers import TriggerAnswer

MAX_SECONDS: Final = 60
TEXT_TYPE: Final = "text/plain; charset=utf-8"
RUN_ID_HEADER: Final = "x-run-id"
_NUMBER: Final = re.compile(r'"?([0-9]{1,9})"?')


def wait_seconds(request: Request) -> int:
    """Return how long the caller wants to wait; 0 when not at all, or when it cannot be read."""
    if "prefer" not in request.headers:
        return 0
    for preference in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            number = _NUMBER.fullmatch(value.strip())
            return min(int(number[1]), MAX_SECONDS) if number else 0
    return 0


async def await_outcome(
    request: Request, watch: RunWatch, run_id: str, seconds: int, *, until_end: bool
) -> Outcome | None:
    """Return what a run has come to; None when that takes longer, when too many wait, or when the caller has gone."""
    if seconds == 0:
        return None
    outcome = asyncio.create_task(watch.outcome(run_id, until_end=until_end))
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({outcome, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return outcome.result() if outcome.done() else None
    finally:
        outcome.cancel()
        gone.cancel()
        await asyncio.gather(outcome, gone, return_exceptions=True)


def applied(seconds: int) -> dict[str, str]:
    """Return the header that says that the wish was granted."""
    return {"preference-applied": f"wait={seconds}"}


def webhook_answer(
    answer: TriggerAnswer, outcome: Outcome, seconds: int, *, shown: bool
) -> Response:
    """Return what a webhook call gets that has waited: what a `respond` step says, or how the run ended.

    `shown`: the caller may see the run's output. What a `respond` step says was meant for the caller.
    """
    if outcome.response is not None:
        return _responded(answer.run_id, outcome.response, applied(seconds))
    body = {
        "run_id": answer.run_id,
        "status": outcome.status,
        "duplicate": answer.duplicate,
    }
    if shown:
        body |= {"output": outcome.output, "error": outcome.error}
    location = {"location": f"/api/v1/runs/{answer.run_id}"}
    return Response(orjson.dumps(body), 200, location | applied(seconds), JSON_TYPE)


def _responded(run_id: str, response: Any, headers: dict[str, str]) -> Response:
    """Return the answer of a `respond` step. `SecurityHeaders` tells browsers not to run it."""
    body = response["body"]
    if isinstance(body, str):
        content, kind = body.encode(), TEXT_TYPE
    else:
        content, kind = b"" if body is None else orjson.dumps(body), JSON_TYPE
    given = {name.lower(): value for name, value in response["headers"].items()}
    if body is not None:
        given.setdefault("content-type", kind)
    return Response(content, response["status"], given | headers | {RUN_ID_HEADER: run_id})


async def _gone(request: Request) -> None:
    """Return once the caller has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
