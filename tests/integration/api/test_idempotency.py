"""The same trigger again and again, at every door: one run, and answers that name it."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import Caller

DUPLICATES = 100


def _assert_one_run(answers: list[httpx.Response]) -> None:
    receipts = [answer.json() for answer in answers]
    assert sorted(answer.status_code for answer in answers) == [*[200] * (DUPLICATES - 1), 202]
    assert len({receipt["run_id"] for receipt in receipts}) == 1
    assert [receipt["duplicate"] for receipt in receipts].count(False) == 1


@pytest.mark.parametrize(
    ("dedupe", "headers"),
    [
        (None, {"Idempotency-Key": "k"}),
        (None, {"webhook-id": "msg_1"}),
        ({"key": "input.id"}, {}),
        ({"key": "input.id", "by_input": True, "ttl_seconds": 60}, {}),
    ],
)
async def test_a_hundred_webhook_deliveries_at_once_are_one_run(
    ada: Caller, dedupe: dict[str, Any] | None, headers: dict[str, str]
) -> None:
    saved = await ada.save(dedupe=dedupe)

    answers = await asyncio.gather(
        *(
            ada.http.post(saved["webhook_url"], json={"id": "evt_1"}, headers=headers)
            for _ in range(DUPLICATES)
        )
    )

    _assert_one_run(answers)
    assert len((await ada.get(f"/workflows/{saved['id']}/runs")).json()["items"]) == 1


async def test_a_hundred_starts_by_hand_with_one_key_are_one_run(ada: Caller) -> None:
    path = f"/workflows/{(await ada.save())['id']}/runs"

    answers = await asyncio.gather(
        *(ada.post(path, {}, headers={"Idempotency-Key": "k"}) for _ in range(DUPLICATES))
    )

    _assert_one_run(answers)


async def test_a_missing_key_never_swallows_a_trigger(ada: Caller) -> None:
    plain = await ada.save()
    optional = await ada.save(dedupe={"key": "input?.id"})
    named = await ada.save(dedupe={"key": "input.id"})

    answers = [
        await ada.http.post(workflow["webhook_url"], json={"a": 1})
        for workflow in (plain, optional, named)
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [202] * 6
    assert len({answer.json()["run_id"] for answer in answers}) == 6


async def test_dedupe_settings_are_shown_as_they_were_set(ada: Caller) -> None:
    shown = [
        (await ada.save(dedupe=dedupe))["dedupe"]
        for dedupe in (None, {"key": "input.id"}, {"by_input": True}, {"ttl_seconds": 60}, {})
    ]
    refused = await ada.post(
        "/workflows",
        {"name": "x", "definition": {"steps": []}, "dedupe": {"ttl_seconds": 0, "by_input": 3}},
    )

    assert shown == [None, {"key": "input.id"}, {"by_input": True}, {"ttl_seconds": 60}, None]
    assert {problem["pointer"] for problem in refused.json()["errors"]} >= {
        "/dedupe/ttl_seconds",
        "/dedupe/by_input",
    }
