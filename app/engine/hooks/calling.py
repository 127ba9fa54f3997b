"""Call the URLs of hooks: until one answers, or enough tries are made."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from app.core.logging import get_logger
from app.engine.egress.run_depth import calling_at
from app.engine.hooks.report import GONE

TOTAL_SECONDS = 10.0
PAUSES_SECONDS = (10, 30, 120, 600, 1_800, 3_600, 7_200)
"""Between the tries: eight of them, over nearly four hours."""
MAX_TRIES = len(PAUSES_SECONDS) + 1
MAX_ERROR_CHARACTERS = 500
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """One try of a call: `body` is null when there is nothing to tell any more."""

    run_id: str
    url: str
    tries: int
    taken_until: datetime
    """When it would be made again, should nobody tell what came of it."""
    body: Mapping[str, Any] | None
    refusal: str | None = None
    """Why a policy does not let it be made."""
    depth: int = 0
    """How deep the run lies whose end it tells."""
    epoch: int = 0
    """That of the run's end: it tells the ends of a run apart that was retried in between."""

    @property
    def key(self) -> str:
        """Return the key that every try carries."""
        return f"{self.run_id}:{self.body['event'] if self.body else ''}:{self.epoch}"


async def call_all(client: httpx.AsyncClient, calls: Sequence[Call]) -> Sequence[str | None]:
    """Make calls side by side; returns what went wrong with each, null for those that were answered."""
    return await asyncio.gather(*(_call_at_depth(client, call) for call in calls))


def settled(call: Call, error: str | None, now: datetime) -> dict[str, Any]:
    """Return a call's row after a try: answered, to be tried again, or given up."""
    pause = PAUSES_SECONDS[call.tries - 1] if call.tries < MAX_TRIES else None
    again = error is not None and pause is not None and call.body is not None
    return {
        "run_id": call.run_id,
        "url": call.url,
        "tries": call.tries,
        "taken_until": call.taken_until,
        "next_try_at": now + timedelta(seconds=pause or 0) if again else None,
        "answered_at": now if error is None else None,
        "last_error": error,
    }


async def _call_at_depth(client: httpx.AsyncClient, call: Call) -> str | None:
    with calling_at(call.depth):
        return await _call(client, call)


async def _call(client: httpx.AsyncClient, call: Call) -> str | None:
    if call.body is None:
        return GONE
    if call.refusal is not None:
        return call.refusal
    try:
        async with client.stream(
            "POST",
            call.url,
            json=call.body,
            headers={"Idempotency-Key": call.key},
            extensions={"total_seconds": TOTAL_SECONDS},
        ) as response:
            return None if response.is_success else f"It answered {response.status_code}."
    except Exception as error:  # noqa: BLE001 - whatever a user's URL brings about is this call's own
        log.info("hook_call_failed", run_id=call.run_id, error=f"{type(error).__name__}: {error}")
        return (str(error) or type(error).__name__)[:MAX_ERROR_CHARACTERS]
