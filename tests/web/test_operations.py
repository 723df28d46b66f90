"""Health, readiness and metrics over HTTP; and nothing but scheduling on the event loop."""

import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from services import context, doing

from ringrift.app import Loop, listen_near
from ringrift.clock import VirtualClock
from ringrift.errors import DataError, SettingsError
from ringrift.fabric import Job, LocalFabric
from ringrift.kernel.service import Profile, Service
from ringrift.kernel.supervisor import Supervisor
from ringrift.observe.logs import writing
from ringrift.pipeline.events import GamesValidated
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import Recipe, SupervisionSettings
from ringrift.pipeline.table import supervisor_of
from ringrift.pipeline.watch import Lines
from ringrift.web.connections import SPARE
from ringrift.web.operations import LIMITS, health_of, operations, serve
from ringrift.web.server import address, listen

HOST = "127.0.0.1"
WAIT = 20.0


def test_a_second_loop_takes_another_port_and_says_which(tmp_path: Path) -> None:
    said: list[str] = []

    class Heard(Lines):
        def line(self, text: str) -> None:
            said.append(text)

    with socket.create_server((HOST, 0)) as first:
        taken = first.getsockname()[1]
        services = SupervisionSettings(port=taken, host=HOST)
        ctx = context(VirtualClock(1000.0))
        supervisor = supervisor_of([], ctx, Profile.WORKER)
        listening = Loop(tmp_path, {}, process=Recipe(services=services), screen=Heard()).listen(supervisor)
        assert listening is not None
        with listening:
            assert taken < listening.getsockname()[1] <= taken + 100
            where = address(listening)
    assert said == [f"port {taken} is taken: health and metrics are at {where}"]
    supervisor.run_due()
    assert {entry.value["address"] for entry in ctx.run.fabric.registry.ls("service/")} == {where}
    with pytest.raises(SettingsError, match="cannot be served"):
        listen_near("no such host", taken)


def ask(supervisor: Supervisor, questions: Callable[[httpx.AsyncClient], Any]) -> Any:
    """What `questions` answers, asked of the supervisor's port while it runs."""
    answers: list[Any] = []

    async def main() -> None:
        listening = listen(HOST, 0)
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                await supervisor.run()
                tasks.cancel_scope.cancel()

            tasks.start_soon(run)
            tasks.start_soon(serve, operations(supervisor), HOST, 0, listening)
            async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
                with anyio.fail_after(WAIT):
                    while (await client.get("/ready")).status_code != 200:
                        await anyio.sleep(0.01)
                    answers.append(await questions(client))
            supervisor.stop("the test is over")

    anyio.run(main)
    return answers[0]


@pytest.mark.parametrize(("host", "said"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_addresses_are_as_browsers_take_them(host: str, said: str) -> None:
    with listen(host, 0) as listening:
        assert address(listening) == f"{said}{listening.getsockname()[1]}"


def nothing(ctx: Context) -> None:
    pass


def sometimes(times: list[int]) -> Callable[[Context], None]:
    """Works the first time."""

    def do(ctx: Context) -> None:
        times.append(1)
        if len(times) > 1:
            raise DataError("no disk")

    return do


@pytest.mark.parametrize(("required", "status", "code"), [(True, "failing", 503), (False, "degraded", 200)])
def test_health_says_which_service_fails(required: bool, status: str, code: int) -> None:
    service = doing("bad", sometimes([]), every=0.05, required=required)
    supervisor = supervisor_of([service, doing("good", nothing)], context(), Profile.LAPTOP)

    async def questions(client: httpx.AsyncClient) -> httpx.Response:
        while True:
            answer = await client.get("/health")
            if answer.json()["details"]["services"]["bad"]["failures"]:
                return answer
            await anyio.sleep(0.01)

    answer = ask(supervisor, questions)
    found = answer.json()
    assert (found["status"], answer.status_code) == (status, code)
    assert "bad: DataError: no disk" in found["message"]
    assert found["details"]["services"]["bad"]["state"] == "failing"
    assert found["details"]["services"]["good"]["state"] in ("idle", "running")


def test_readiness_names_what_has_not_worked_yet() -> None:
    def failing(ctx: Context) -> None:
        raise DataError("no disk")

    services = [doing("bad", failing), doing("late", nothing, after=("bad",))]
    supervisor = supervisor_of(services, context(VirtualClock()), Profile.LAPTOP, effects=[])
    supervisor.run_due()
    app = operations(supervisor)

    async def main() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/ready")

    answer = anyio.run(main)
    assert answer.status_code == 503
    assert answer.json()["missing"] == {"bad": "DataError: no disk", "late": "waits for bad"}


def test_metrics_are_openmetrics() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    ctx.run.fabric.jobs.put([Job("j", "train", "square8_2p")])
    ctx.publish(GamesValidated(config="square8_2p", job="j", valid=3, quarantined=0))
    supervisor = supervisor_of([doing("s", nothing)], ctx, Profile.LAPTOP)
    for _ in range(4):
        clock.advance(supervisor.run_due())

    async def main() -> httpx.Response:
        app = operations(supervisor)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get("/metrics")

    answer = anyio.run(main)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples["ringrift_service_ticks_total", "s"] >= 1
    assert samples["ringrift_service_healthy", "s"] == 1
    assert samples["ringrift_jobs", "square8_2p", "train", "waiting"] == 1
    assert samples["ringrift_events_total",] >= 1
    assert samples["ringrift_effect_depth", "log"] == 0
    assert sum(value for (name, *_), value in samples.items() if name == "ringrift_pressure_level") == 1
    assert samples["process_resident_memory_bytes",] > 1e6
    assert health_of(supervisor.snapshot())["status"] in ("ok", "degraded")


def test_the_port_has_the_guard_of_all_servers() -> None:
    """Idle connections leave descriptors to the loop, other names of the machine are refused, and so are bodies."""
    supervisor = supervisor_of([doing("good", nothing)], context(), Profile.LAPTOP)

    async def questions(client: httpx.AsyncClient) -> list[int]:
        statuses, port = list[int](), client.base_url.port or 0
        before = len(list(Path("/proc/self/fd").iterdir()))
        async with AsyncExitStack() as open_:
            for _ in range(3 * LIMITS.connections):
                await open_.enter_async_context(await anyio.connect_tcp(HOST, port))
            statuses.append((await client.get("/health")).status_code)
            ours = 3 * LIMITS.connections  # their other ends
            assert len(list(Path("/proc/self/fd").iterdir())) - before - ours <= LIMITS.connections + SPARE
        statuses.append((await client.get("/metrics", headers={"Host": "elsewhere.example"})).status_code)
        statuses.append((await client.post("/health", content=b"x" * 20_000)).status_code)
        statuses.append((await client.get("/health?" + "x" * 40_000)).status_code)
        return statuses

    assert ask(supervisor, questions) == [200, 403, 413, 414]


def test_a_key_that_is_set_holds_for_the_port_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGRIFT_API_KEY", "a-key")
    supervisor = supervisor_of([doing("good", nothing)], context(), Profile.LAPTOP)

    async def questions(client: httpx.AsyncClient) -> list[int]:
        asked = [("/metrics", ""), ("/metrics", "another"), ("/metrics", "a-key"), ("/health", "")]
        return [(await client.get(path, headers={"X-API-Key": key})).status_code for path, key in asked]

    assert ask(supervisor, questions) == [401, 403, 200, 200]


def test_a_busy_port_says_what_to_set() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 cannot be served .*set services.port"):
            listen(HOST, port)
        with pytest.raises(SettingsError, match=r"set serve\.port to a free one$"):  # 0 would be any, not none
            listen(HOST, port, "serve.port")


# -- the event loop only schedules -------------------------------------------------------------------------------------

CONNECT = sqlite3.connect
FILE_CALLS = ("open", "sqlite3.", "os.", "shutil.", "fcntl.", "tempfile.", "subprocess.")


class Audit:
    """What one thread does with files and databases, while it is watched. A hook cannot be taken away again."""

    def __init__(self) -> None:
        self.watched = 0
        self.calls: list[str] = []
        self.elsewhere = 0
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watched or not event.startswith(FILE_CALLS):
            return
        self.note(event, arguments[:1])

    def traced(self, *arguments: Any, **named: Any) -> sqlite3.Connection:
        """Statements raise no audit event of their own."""
        connection = CONNECT(*arguments, **named)
        connection.set_trace_callback(lambda statement: self.note("sqlite3.execute", statement))
        return connection

    def note(self, event: str, what: object) -> None:
        if self.watched and threading.get_ident() == self.watched:
            self.calls.append(f"{event} {what}")
        else:
            self.elsewhere += 1


@pytest.fixture(scope="module")
def audit() -> Iterator[Audit]:
    audit = Audit()
    yield audit
    audit.watched = 0


def test_no_file_and_no_database_is_touched_on_the_event_loop(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", audit.traced)
    fabric = LocalFabric(tmp_path)
    ctx = context(fabric=fabric)
    counts: list[int] = []

    def work(inner: Context) -> None:
        counts.append(inner.publish(GamesValidated(job=str(len(counts)), valid=1, quarantined=0)))

    def failing(inner: Context) -> None:
        raise DataError("on purpose")

    services: list[Service] = [doing("work", work), doing("heard", nothing, 60, on=(GamesValidated,))]
    supervisor = supervisor_of(services, ctx, Profile.LAPTOP)

    async def questions(client: httpx.AsyncClient) -> None:
        for path in ("/health", "/metrics"):  # whatever is imported late is imported now
            await client.get(path)
        audit.elsewhere, audit.watched = 0, threading.get_ident()
        end = time.monotonic() + 1.0
        while time.monotonic() < end or len(counts) < 5:
            for path in ("/health", "/ready", "/metrics"):
                assert (await client.get(path)).status_code == 200
            await anyio.sleep(0.02)

    try:
        with writing(tmp_path / "logs" / "laptop.jsonl", 1_000_000):
            ask(supervisor, questions)
    finally:
        audit.watched = 0
        fabric.close()
    assert audit.calls == []
    assert audit.elsewhere > 50  # the hook does see calls
    assert "work" in (tmp_path / "logs" / "laptop.jsonl").read_text()


def test_the_audit_would_see_it(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "connect", audit.traced)
    audit.calls, audit.watched = [], threading.get_ident()
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
        connection.execute("SELECT 1")
    (tmp_path / "file").touch()
    audit.watched = 0
    assert {call.split()[0] for call in audit.calls} >= {"sqlite3.connect", "sqlite3.execute", "open"}
