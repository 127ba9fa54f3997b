"""What people do with the platform over HTTP: each has a desk of their own."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

from tests.e2e.crash.harness.platform import ENDED, Platform
from tests.e2e.crash.harness.waiting import PATIENCE_SECONDS

FINAL = ("succeeded", "failed", "cancelled", "timed_out")
PASSWORD = "correct horse battery"
T = TypeVar("T")


class Desk:
    """Calls the API as one person."""

    def __init__(self, platform: Platform, email: str) -> None:
        self.email = email
        self.platform = platform
        self.http = httpx.Client(base_url=platform.http.base_url, timeout=PATIENCE_SECONDS)
        account = {"email": email, "password": PASSWORD}
        assert self.http.post("/register", json=account).status_code == 201
        form = {"username": email, "password": PASSWORD}
        token = self.http.post("/login", data=form).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **options: Any) -> Any:
        """Return what stands at a path."""
        answer = self.http.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST JSON and return the answer, whatever it is. `Idempotency_Key` names the header `Idempotency-Key`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json={} if body is None else body, headers=named)

    def save(self, *steps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        """Save a workflow; fields of its definition besides the steps are given as `definition`."""
        definition = {"steps": list(steps), **fields.pop("definition", {})}
        answer = self.post("/workflows", {"name": "test", "definition": definition, **fields})
        assert answer.status_code == 201, answer.text
        saved: dict[str, Any] = answer.json()
        return saved

    def start(self, workflow: Mapping[str, Any], value: Any = None, **fields: Any) -> str:
        """Start a run by hand."""
        body = {"input": {} if value is None else value, **fields}
        answer = self.post(f"/workflows/{workflow['id']}/runs", body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def begin(self, *steps: Mapping[str, Any]) -> str:
        """Start a run of these steps."""
        return self.start(self.save(*steps))

    def run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        found: dict[str, Any] = self.get(f"/runs/{run_id}")
        return found

    def status(self, run_id: str) -> str:
        """Return where a run stands."""
        return str(self.run(run_id)["status"])

    def until(
        self, run_id: str, *statuses: str, seconds: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """Wait until a run stands somewhere; returns it."""
        self.platform.until(lambda: self.status(run_id) in statuses, seconds)
        return self.run(run_id)

    def ended(self, run_id: str) -> dict[str, Any]:
        """Wait for the end of a run; returns it."""
        return self.until(run_id, *FINAL)

    def all_ended(self, workflow: Mapping[str, Any], count: int) -> dict[str, int]:
        """Wait for the end of all runs of a workflow; returns how many there are in each status."""
        runs = "FROM runs WHERE workflow_id = :id"
        database, chosen = self.platform.database, {"id": workflow["id"]}
        over = f"SELECT count(*) {runs} AND status IN {ENDED}"
        self.platform.until(lambda: database.count(over, **chosen) >= count)
        rows = database.rows(f"SELECT status, count(*) AS n {runs} GROUP BY status", **chosen)
        return {row["status"]: row["n"] for row in rows}

    def control(self, run_id: str, action: str, **body: Any) -> httpx.Response:
        """Pause, resume, cancel, replay … a run; returns the answer, whatever it is."""
        return self.post(f"/runs/{run_id}/{action}", body)


def at_once(calls: Sequence[Callable[[], T]], callers: int = 20) -> list[T]:
    """Make calls from many threads that begin at the same moment; returns what they return, in order."""
    gate = threading.Barrier(min(callers, len(calls)))

    def call(number: int) -> T:
        if number < gate.parties:
            gate.wait(PATIENCE_SECONDS)
        return calls[number]()

    with ThreadPoolExecutor(gate.parties) as pool:
        return list(pool.map(call, range(len(calls))))
