"""The platform as real processes on servers of the test's choice, and a user who has workflows on it."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from tests.e2e.crash.harness.database import Database
from tests.e2e.crash.harness.programs import (
    Process,
    free_port,
    processes_of,
    start_api,
    start_worker,
    until_answering,
)
from tests.e2e.crash.harness.sink import Sink
from tests.e2e.crash.harness.waiting import PATIENCE_SECONDS, wait_until

SECRET_KEY = "a secret key that is long enough for a test"
ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery"}
NODES = Path(__file__).parents[1] / "nodes"
CALLERS = 8
LEASE_SECONDS = 2
ENDED = "('succeeded', 'failed', 'cancelled', 'timed_out')"


@dataclass(frozen=True)
class Workflow:
    """A saved workflow."""

    id: str
    webhook_url: str


class Platform:
    """Starts processes, triggers runs over HTTP, and remembers every run that was answered with 202."""

    sink: Sink

    def __init__(self, folder: Path, database_url: str, redis_url: str, **settings: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.database = Database(database_url)
        self.accepted: list[str] = []
        self.settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": str(folder),
            "SECRET_KEY": SECRET_KEY,
            "PORT": free_port(),
            "EGRESS_ALLOW": "127.0.0.1",
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "SHUTDOWN_SECONDS": "1",
            **settings,
        }
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.settings['PORT']}/api/v1", timeout=PATIENCE_SECONDS
        )
        self._api: Process | None = None
        self._workers: list[Process] = []
        self._started = 0

    def begin_anew(self, sink: Sink) -> None:
        """Forget all runs; the account and the API stay."""
        self.sink = sink
        self.accepted = []
        if self.api_is_down():  # a test that failed left it so
            self.api()
        self.database.rows("TRUNCATE runs, steps, run_logs, workers")
        with Redis.from_url(self.redis_url) as client:
            client.flushall()

    def api(self) -> None:
        """Start the API and wait until it serves."""
        self._api = start_api(self.settings, self._log("api"))
        until_answering(self._api, self.settings["PORT"])

    def api_is_down(self) -> bool:
        """Tell whether the API is not there."""
        return self._api is None or self._api.has_ended()

    def kill_api(self) -> None:
        """Kill the API."""
        assert self._api is not None
        self._api.kill()

    def worker(self, **settings: str) -> Process:
        """Start a worker, and do not wait for it."""
        worker = start_worker({**self.settings, **settings}, self._log("worker"))
        self._workers.append(worker)
        return worker

    def living_workers(self) -> int:
        """Return how many workers there are."""
        return sum(not worker.has_ended() for worker in self._workers)

    def registered(self, *workers: Process) -> None:
        """Wait until workers are ready."""
        self.until(lambda: self.database.workers() >= {worker.pid for worker in workers})

    def log_in(self) -> None:
        """Make the account and use it from now on."""
        assert self.http.post("/register", json=ACCOUNT).status_code == 201
        form = {"username": ACCOUNT["email"], "password": ACCOUNT["password"]}
        token = self.http.post("/login", data=form).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def workflow(self, *steps: Mapping[str, Any], **definition: Any) -> Workflow:
        """Save a workflow."""
        form = {"name": "test", "definition": {"steps": list(steps), **definition}}
        answer = self.http.post("/workflows", json=form)
        assert answer.status_code == 201, answer.text
        return Workflow(answer.json()["id"], answer.json()["webhook_url"])

    def call_step(self, name: str, path: str = "/", **step: Any) -> dict[str, Any]:
        """Return a step that POSTs to the sink."""
        config = {"method": "POST", "url": self.sink.url(path), "json_body": {"from": name}}
        return {"id": name, "type": "http_request_node", "config": config, **step}

    def trigger(self, workflow: Workflow, key: str | None = None) -> str:
        """Trigger it as a third party would; returns the run, which was accepted."""
        answer = self.deliver(workflow, key)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def trigger_many(self, workflow: Workflow, count: int) -> list[str]:
        """Trigger it many times, several at once."""
        with ThreadPoolExecutor(CALLERS) as callers:
            return list(callers.map(lambda _: self.trigger(workflow), range(count)))

    def deliver(self, workflow: Workflow, key: str | None = None) -> httpx.Response:
        """Send one delivery to the webhook and return the answer, whatever it is."""
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self.http.post(
            workflow.webhook_url, json={"n": 1}, headers={**headers, "Authorization": ""}
        )
        if answer.status_code == 202:
            self.accepted.append(answer.json()["run_id"])
        return answer

    def until(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for a condition; when it does not come true, show the logs."""
        if not wait_until(condition, seconds):
            raise AssertionError("\n".join(f"{p.name}: {p.said()}" for p in self._workers))

    def until_ended(self, run_ids: Sequence[str] | None = None) -> None:
        """Wait for the end of runs; of all that were accepted when none are named."""
        wanted = set(self.accepted if run_ids is None else run_ids)
        sql = f"SELECT id FROM runs WHERE status IN {ENDED}"
        self.until(lambda: wanted <= {str(row["id"]) for row in self.database.rows(sql)})

    def stays_true(self, condition: Callable[[], bool], seconds: float) -> None:
        """Watch a condition for a while."""
        assert not wait_until(lambda: not condition(), seconds), "it did not stay so"

    def statuses(self) -> dict[str, int]:
        """Return how many runs there are in each status."""
        rows = self.database.rows("SELECT status, count(*) AS n FROM runs GROUP BY status")
        return {row["status"]: row["n"] for row in rows}

    def kill_worker(self, pid: int) -> None:
        """Kill one of the workers."""
        (worker,) = [worker for worker in self._workers if worker.pid == pid]
        worker.kill()

    def kill_workers(self) -> None:
        """Kill all workers and see to it that nothing of them is left."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        api = [] if self._api is None or self._api.has_ended() else [self._api.pid]
        assert processes_of(self.folder) == api

    def stop(self) -> None:
        """Kill whatever still runs."""
        self.http.close()
        if self._api is not None:
            self._api.kill()
        self.kill_workers()
        self.database.close()

    def _log(self, name: str) -> Path:
        self._started += 1
        return self.folder / f"{name}-{self._started}.log"
