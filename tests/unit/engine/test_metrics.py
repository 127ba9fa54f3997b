"""What a process counts, who may read it, and how the numbers of several processes become one document."""

import http.client
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.core.clock import SystemClock
from app.core.errors import ConfigurationError, NotAuthenticated, PermissionDenied
from app.core.statuses import AttemptStatus, RunStatus, TriggerKind, WaitKind
from app.engine.checkpoint import Checkpoint, ended, requeued
from app.engine.metrics.collectors import Distribution
from app.engine.metrics.exposition import text_of
from app.engine.metrics.gate import Reader, refusal
from app.engine.metrics.meters import ApiMeters, WorkerMeters
from app.engine.metrics.port import MetricsPort
from app.engine.metrics.shelf import STALE_SECONDS, Publish, Shelf
from app.engine.planning.decision import End
from app.engine.planning.record import StepState, Waiting

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
STEP = StepState(
    "s",
    "log",
    AttemptStatus.SUCCEEDED,
    1,
    0,
    started_at=NOW - timedelta(seconds=0.2),
    finished_at=NOW,
)


class Samples:
    """The values of an exposition, by name and labels."""

    def __init__(self, text: bytes) -> None:
        self._values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((f"automateos_{name}", tuple(sorted(labels.items()))))


def _samples(meters: ApiMeters | WorkerMeters) -> Samples:
    return Samples(generate_latest(meters.registry))


def _worker() -> WorkerMeters:
    return WorkerMeters(["log"], lambda: 7, 500)


def _row(kind: TriggerKind = TriggerKind.WEBHOOK, seconds: float = 0.0, epoch: int = 1) -> Any:
    created = NOW - timedelta(seconds=seconds)
    return SimpleNamespace(epoch=epoch, trigger_kind=kind, created_at=created, started_at=NOW)


def _checkpoint(*states: StepState, status: RunStatus | None = None) -> Checkpoint:
    leave = None if status is None else ended(End(status), NOW)
    return Checkpoint("run", 1, states, leave=leave, ended=states)


def test_a_distribution_counts_each_value_in_its_bucket_and_all_above() -> None:
    distribution = Distribution("automateos_x", "X.", "kind", (1.0, 5.0))
    registry = CollectorRegistry()
    registry.register(distribution)

    for value in (0.5, 1.0, 3.0, 9.0):
        distribution.observe(value, "a")

    samples = Samples(generate_latest(registry))
    assert [samples("x_bucket", kind="a", le=le) for le in ("1.0", "5.0", "+Inf")] == [2, 3, 4]
    assert (samples("x_count", kind="a"), samples("x_sum", kind="a")) == (4, 13.5)


def test_triggers_are_counted_by_kind_and_whether_they_repeat_another() -> None:
    meters = ApiMeters()

    meters.triggers_accepted(
        [(TriggerKind.WEBHOOK, False), (TriggerKind.WEBHOOK, False), (TriggerKind.MANUAL, True)]
    )
    meters.trigger_refused(TriggerKind.WEBHOOK, "workflow_disabled")

    samples = _samples(meters)
    assert samples("triggers_accepted_total", trigger="webhook", repeated="false") == 2
    assert samples("triggers_accepted_total", trigger="manual", repeated="true") == 1
    assert samples("triggers_refused_total", trigger="webhook", reason="workflow_disabled") == 1


def test_counters_stand_at_zero_before_anything_happens() -> None:
    samples = _samples(_worker())

    assert samples("runs_ended_total", status="failed") == 0


def test_the_first_claim_of_a_run_tells_how_long_it_was_queued() -> None:
    meters = _worker()

    meters.claimed([_row(seconds=0.02), _row(seconds=700, epoch=2)], [])

    samples = _samples(meters)
    assert samples("runs_started_total", trigger="webhook") == 1
    assert samples("queue_seconds_count", trigger="webhook") == 1
    assert samples("queue_seconds_bucket", trigger="webhook", le="0.025") == 1


def test_a_later_claim_counts_the_attempts_that_were_lost() -> None:
    meters = _worker()
    lost = replace(STEP, status=AttemptStatus.LOST)

    meters.claimed([_row(epoch=2)], [Checkpoint("run", 2, (lost,))])

    samples = _samples(meters)
    assert samples("attempts_ended_total", type="log", status="lost") == 1
    assert samples("attempt_seconds_count", type="log") is None


def test_written_checkpoints_count_attempts_and_ended_runs() -> None:
    meters = _worker()
    failed = replace(STEP, status=AttemptStatus.FAILED)

    meters.written(
        [_checkpoint(STEP, failed), _checkpoint(status=RunStatus.SUCCEEDED)],
        [_checkpoint(STEP, status=RunStatus.SUCCEEDED)],
    )

    samples = _samples(meters)
    assert samples("attempts_ended_total", type="log", status="succeeded") == 2
    assert samples("attempts_ended_total", type="log", status="failed") == 1
    assert samples("attempt_seconds_bucket", type="log", le="0.25") == 3
    assert samples("runs_ended_total", status="succeeded") == 1


def test_what_begins_waits_or_goes_back_to_the_queue_has_not_ended() -> None:
    meters = _worker()
    going = [
        replace(STEP, status=status) for status in (AttemptStatus.RUNNING, AttemptStatus.WAITING)
    ]

    meters.written([_checkpoint(*going), replace(_checkpoint(), leave=requeued(NOW))], [])

    samples = _samples(meters)
    assert samples("attempts_ended_total", type="log", status="waiting") is None
    assert samples("runs_ended_total", status="succeeded") == 0


def test_the_time_of_a_wait_is_not_that_of_its_node() -> None:
    meters = _worker()

    meters.written([_checkpoint(replace(STEP, wait=Waiting(WaitKind.TIMER)))], [])

    samples = _samples(meters)
    assert samples("attempts_ended_total", type="log", status="succeeded") == 1
    assert samples("attempt_seconds_count", type="log") is None


def test_node_types_that_nobody_has_installed_share_a_label() -> None:
    meters = _worker()

    meters.written([_checkpoint(replace(STEP, type=f"made_up_{n}")) for n in range(100)], [])

    assert _samples(meters)("attempts_ended_total", type="other", status="succeeded") == 100


def test_a_worker_shows_its_runs_its_duties_and_its_batches() -> None:
    meters = _worker()

    meters.duty_done("reaper", {"workers": 1, "runs": 12, "strays": 0})
    meters.batches_of("journal")(40)

    samples = _samples(meters)
    assert (samples("runs_in_flight"), samples("runs_in_flight_limit")) == (7, 500)
    assert samples("duty_done_total", duty="reaper", what="runs") == 12
    assert samples("group_commit_batch_size_sum", commit="journal") == 40


def test_the_numbers_of_several_processes_become_one_document() -> None:
    own, other = ApiMeters(), ApiMeters()
    own.trigger_refused(TriggerKind.WEBHOOK, "not_found")
    other.trigger_refused(TriggerKind.WEBHOOK, "not_found")
    worker = generate_latest(_worker().registry).decode()

    text = text_of(
        {"api-1": own.registry},
        {"api-2": generate_latest(other.registry).decode(), "worker-3": worker},
        [],
    )

    samples = Samples(text)
    refused = {"trigger": "webhook", "reason": "not_found"}
    assert samples("triggers_refused_total", process="api-1", **refused) == 1
    assert samples("triggers_refused_total", process="api-2", **refused) == 1
    assert samples("runs_in_flight", process="worker-3") == 7
    assert text.count(b"# TYPE automateos_runs_ended_total counter") == 1


def test_a_shelf_shows_what_the_others_laid_down_and_forgets_the_dead(tmp_path: Path) -> None:
    clock = SystemClock()
    mine, theirs, dead = (Shelf(tmp_path / "metrics", name, clock) for name in ("a", "b", "c"))
    for shelf, text in ((mine, b"mine"), (theirs, b"theirs"), (dead, b"dead")):
        shelf.put(text)
    long_ago = clock.now().timestamp() - STALE_SECONDS - 1
    os.utime(tmp_path / "metrics" / "c.prom", (long_ago, long_ago))

    found = mine.others()
    theirs.remove()

    assert found == {"b": "theirs"}
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == ["a.prom"]


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    publish = Publish(
        Shelf(tmp_path / "file" / "metrics", "a", SystemClock()), ApiMeters().registry
    )

    assert [publish.run_once(), publish.run_once()] == [{}, {}]


@pytest.mark.parametrize(
    "reader",
    [
        Reader("127.0.0.1"),
        Reader("::1"),
        Reader("::ffff:10.0.0.8"),
        Reader("192.168.7.7"),
        Reader("10.1.2.3", forwarded_for="10.1.2.3"),
    ],
)
def test_without_a_token_those_who_are_near_may_read(reader: Reader) -> None:
    assert refusal(reader, None) is None


@pytest.mark.parametrize(
    "reader",
    [
        Reader("8.8.8.8"),
        Reader("2001:4860:4860::8888"),
        Reader("::ffff:8.8.8.8"),
        Reader("0.0.0.0"),
        Reader(None),
        Reader("not an address"),
        Reader("127.0.0.1", forwarded_for="8.8.8.8"),
        Reader("8.8.8.8", forwarded_for="8.8.8.8"),
    ],
)
def test_without_a_token_nobody_from_outside_may_read(reader: Reader) -> None:
    assert isinstance(refusal(reader, None), PermissionDenied)


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", "Basic token", "token", "Bearer tökén"]
)
def test_with_a_token_nobody_may_read_without_it(sent: str) -> None:
    assert isinstance(refusal(Reader("127.0.0.1", sent), "token"), NotAuthenticated)


def test_with_the_token_anybody_may_read() -> None:
    assert refusal(Reader("8.8.8.8", "Bearer token"), "token") is None


@pytest.fixture
def port() -> Iterator[MetricsPort]:
    port = MetricsPort("127.0.0.1", 0, "token", lambda: b"automateos_x 1\n")
    port.start()
    yield port
    port.close()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/metrics", {"Authorization": "Bearer token"}, 200),
        ("/metrics", {}, 401),
        ("/", {"Authorization": "Bearer token"}, 404),
    ],
)
def test_a_worker_answers_on_its_own_port(
    port: MetricsPort, path: str, headers: dict[str, str], status: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port.port, timeout=5)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()

    assert answer.status == status
    assert (body == b"automateos_x 1\n") is (status == 200)


def test_a_port_that_is_taken_is_refused_with_what_to_do(port: MetricsPort) -> None:
    with pytest.raises(ConfigurationError, match="give each worker of a machine a port of its own"):
        MetricsPort("127.0.0.1", port.port, None, lambda: b"")
