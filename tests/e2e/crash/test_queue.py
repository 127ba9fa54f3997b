"""The queue is lost, doubled, forged, or away: hints are only hints."""

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer

from app.embedded.redis import EmbeddedRedis
from app.engine.delivery.dispatch import Dispatcher, count_hints
from app.engine.delivery.hints import ADVANCE_RUNS
from app.engine.delivery.lanes import LANES, MIXED
from tests.e2e.crash.harness.platform import Platform, Workflow
from tests.e2e.crash.harness.programs import Process
from tests.e2e.crash.harness.scale import in_flight
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
ONE_ATTEMPT_EACH = "SELECT count(*) FROM steps WHERE attempt = 1 AND status = 'succeeded'"
MORE = "SELECT count(*) FROM steps WHERE attempt > 1 OR status <> 'succeeded'"


def one_call(platform: Platform) -> Workflow:
    return platform.workflow(platform.call_step("call"))


def assert_each_ran_once(platform: Platform, sink: Sink, runs: int) -> None:
    assert platform.statuses() == {"succeeded": runs}
    assert platform.database.count(ONE_ATTEMPT_EACH) == runs
    assert platform.database.count(MORE) == 0
    assert set(sink.effects.values()) == {1}
    assert len(sink.effects) == runs


@in_flight(200)
def test_losing_everything_in_redis_loses_no_run(
    platform: Platform, sink: Sink, redis: EmbeddedRedis, runs: int
) -> None:
    platform.trigger_many(one_call(platform), runs)
    with Redis.from_url(redis.url) as client:
        platform.until(lambda: count_hints(client) > 0)
        client.flushall()

    platform.worker()
    platform.until_ended()

    assert_each_ran_once(platform, sink, runs)


@in_flight(200)
def test_three_workers_and_fifty_hints_for_each_run_execute_none_twice(
    platform: Platform, sink: Sink, redis: EmbeddedRedis, runs: int
) -> None:
    started = platform.trigger_many(one_call(platform), runs)
    with Redis.from_url(redis.url) as client:
        for _ in range(50):
            assert Dispatcher(client).dispatch(started)

    workers = [platform.worker(RUNS_PER_WORKER="20") for _ in range(3)]
    platform.until_ended()
    platform.registered(*workers)

    assert_each_ran_once(platform, sink, runs)
    assert platform.database.count("SELECT count(*) FROM runs WHERE epoch <> 1") == 0


@in_flight(20)
def test_triggers_are_taken_and_executed_while_redis_is_away(
    platform: Platform, sink: Sink, redis: EmbeddedRedis, runs: int
) -> None:
    workflow = one_call(platform)
    worker = hold(platform, sink, runs)
    with load(platform, workflow):
        platform.until(lambda: len(platform.accepted) > runs + 20)
        redis.send(signal.SIGKILL)
        platform.until(redis.has_ended)
        before = len(platform.accepted)
        platform.until(lambda: len(platform.accepted) > before + 20)
    without_redis = platform.accepted[before + 1 :]
    platform.until_ended(without_redis)

    redis.start()
    platform.trigger(workflow)
    sink.open()
    platform.until_ended()

    assert_each_ran_once(platform, sink, len(platform.accepted))
    assert not worker.has_ended()


@in_flight(20)
def test_redis_killed_and_emptied_under_load_loses_no_run(
    platform: Platform, sink: Sink, redis: EmbeddedRedis, runs: int
) -> None:
    workflow = one_call(platform)
    worker = hold(platform, sink, runs)
    with load(platform, workflow):
        platform.until(lambda: len(platform.accepted) > runs + 20)
        redis.send(signal.SIGKILL)
        platform.until(redis.has_ended)
        shutil.rmtree(redis.directory / "appendonlydir")
        redis.start()
        before = len(platform.accepted)
        platform.until(lambda: len(platform.accepted) > before + 20)
    sink.open()
    platform.until_ended()

    assert_each_ran_once(platform, sink, len(platform.accepted))
    assert not worker.has_ended()


def test_forged_jobs_are_refused(
    platform: Platform, sink: Sink, redis: EmbeddedRedis, folder: Path
) -> None:
    mark = folder / "mark"
    command = f"touch {mark}"
    with Redis.from_url(redis.url) as client:
        forged = Queue(MIXED, connection=client, serializer=JSONSerializer)
        pickled = Queue(LANES[0], connection=client)
        touch = Callback("os.system")
        forged.enqueue_call("os.system", args=(command,))
        forged.enqueue_call("builtins.exec", args=(f"__import__('os').system({command!r})",))
        hint = {LANES[0]: [command, "no id", None, 7, "x" * 36]}
        forged.enqueue_call(ADVANCE_RUNS, args=(hint,), on_success=touch, on_failure=touch)
        refused: list[object] = ["no lanes", [command], {"no lane": []}, {LANES[0]: "no list"}]
        for told in refused:
            forged.enqueue_call(ADVANCE_RUNS, args=(told,))
        pickled.enqueue_call("os.system", args=(command,))
        client.hset("rq:job:garbage", mapping={"data": b"\xff\x80garbage", "created_at": "never"})
        client.rpush(f"rq:queue:{LANES[1]}", "garbage", "not-there", b"\xff\xfe")
    run_id = platform.trigger(one_call(platform))

    worker = platform.worker()
    platform.until_ended([run_id])
    with Redis.from_url(redis.url) as client:
        platform.until(lambda: count_hints(client) == 0)

    assert not mark.exists()
    assert not worker.has_ended()
    assert_each_ran_once(platform, sink, 1)


def hold(platform: Platform, sink: Sink, runs: int) -> Process:
    """Start a worker that has runs in flight until the sink is opened."""
    worker = platform.worker()
    platform.trigger_many(platform.workflow(platform.call_step("call", "/held")), runs)
    platform.until(lambda: sink.holding == runs)
    return worker


@contextmanager
def load(platform: Platform, workflow: Workflow) -> Iterator[None]:
    """Trigger again and again in a thread; every answer must be 202."""
    stop = threading.Event()
    refused: list[BaseException] = []

    def trigger() -> None:
        while not stop.wait(0.01):
            try:
                platform.trigger(workflow)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                refused.append(error)

    thread = threading.Thread(target=trigger)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert refused == []
