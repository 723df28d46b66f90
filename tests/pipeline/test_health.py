"""The gauge of backpressure, the alert rules, and logs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services import context

from ringrift.clock import VirtualClock
from ringrift.errors import DataError
from ringrift.fabric import Job, JobState
from ringrift.kernel.effects import Effect, deliver
from ringrift.kernel.events import AlertRaised
from ringrift.kernel.health import BORDERS, Alert, Pressure, Rule, ServiceStatus, Snapshot, gauge, judge
from ringrift.kernel.service import Level, Profile
from ringrift.observe.logs import bound, log, writing
from ringrift.pipeline.effects import EFFECTS
from ringrift.pipeline.events import GamesValidated
from ringrift.pipeline.health import RULES, Measured
from ringrift.pipeline.settings import SupervisionSettings
from ringrift.pipeline.table import supervisor_of

LEVELS = list(BORDERS)
HEALTHY = Snapshot("p", "laptop", 0.0, (ServiceStatus("s", state="idle", worked=True),), Measured(), Pressure(), ())


@pytest.mark.parametrize(
    ("share", "level"),
    [
        (0.0, "low"),
        (0.29, "low"),
        (0.3, "medium"),
        (0.59, "medium"),
        (0.6, "high"),
        (0.8, "critical"),
        (3.0, "critical"),
    ],
)
def test_levels_of_the_gauge(share: float, level: str) -> None:
    found = gauge({"jobs": share, "disk": 0.0}, Level.LOW)
    assert (found.level.value, found.part if share else "jobs", found.share) == (level, "jobs", min(1.0, share))


def test_a_level_is_left_only_below_its_margin() -> None:
    level = Level.LOW
    seen = []
    for share in (0.31, 0.29, 0.26, 0.24, 0.85, 0.76, 0.74, 0.5, 0.56, 0.29, 0.2):
        level = gauge({"jobs": share}, level).level
        seen.append(level.value)
    assert seen == [
        "medium", "medium", "medium", "low", "critical", "critical", "high", "medium", "medium", "medium", "low",
    ]  # fmt: skip


@given(st.lists(st.floats(0, 1.5), max_size=30))
def test_the_gauge_never_understates(shares: list[float]) -> None:
    level = Level.LOW
    for share in shares:
        level = gauge({"x": share}, level).level
        plain = gauge({"x": share}, Level.LOW).level
        above = gauge({"x": share + 0.05001}, Level.LOW).level
        assert LEVELS.index(plain) <= LEVELS.index(level) <= LEVELS.index(above)


def test_the_parts_of_the_gauge() -> None:
    settings = SupervisionSettings(full_events=100, full_jobs=10, full_games=4, disk_clean=0.6, disk_stop=0.9)
    jobs = {("train", "a", JobState.WAITING): 4, ("train", "b", JobState.WAITING): 1, ("train", "b", JobState.DONE): 99}
    measured = Measured(jobs=jobs, depths={"log": 7, "webhook": 80}, games={"a": 1.0, "b": 3.0}, memory=0.5, disk=0.75)
    found = measured.parts(settings)
    assert found == pytest.approx({"events": 0.8, "jobs": 0.5, "games": 0.75, "memory": 0.0, "disk": 0.5})
    assert Measured(disk=0.4).parts(settings)["disk"] == 0.0
    assert Measured().parts(settings)["events"] == 0.0


def test_an_alert_holds_before_it_is_raised_and_before_it_is_cleared() -> None:
    text: list[str | None] = [None]
    rules = [Rule("r", "warning", lambda snapshot: text[0], hold=10)]
    alerts: dict[str, Alert] = {}
    told: list[tuple[float, str]] = []

    def at(now: float, said: str | None) -> None:
        nonlocal alerts
        text[0] = said
        alerts, news = judge(rules, HEALTHY, alerts, now)
        told.extend((now, type(event).__name__) for event in news)

    for now, said in (
        (0, None),
        (1, "bad"),
        (5, None),
        (6, "bad"),
        (15, "bad"),
        (16, "worse"),
        (20, None),
        (25, "bad"),
    ):
        at(now, said)
    assert told == [(16, "AlertRaised")]
    assert alerts["r"].text == "bad"
    at(40, None)
    at(49, None)
    at(50, None)
    assert told == [(16, "AlertRaised"), (50, "AlertCleared")]


def raised(snapshot: Snapshot) -> dict[str, str]:
    """Alerts and what they say, with nothing to wait for."""
    _, news = judge([replace(rule, hold=0) for rule in RULES], snapshot, {}, 0.0)
    return {event.alert: event.text for event in news if isinstance(event, AlertRaised)}


def test_the_rules() -> None:
    assert raised(HEALTHY) == {}
    ill = (
        ServiceStatus("a", state="failing", note="no disk", failures=3),
        ServiceStatus("b", state="failing", note="once", failures=1),
        ServiceStatus("c", state="stalled", note="achieved nothing for 99 s"),
        ServiceStatus("d", state="waiting", note="waits for a"),
    )
    measured = Measured(
        jobs={("train", "x", JobState.DEAD): 2},
        dead={"webhook": 1},
        disk=0.93,
        disk_full=True,
        breakers={"webhook": "opened", "s3": "closed"},
    )
    full = Pressure(Level.CRITICAL, 1.0, "disk")
    assert raised(replace(HEALTHY, services=ill, measured=measured, pressure=full)) == {
        "service-failing": "a: no disk",
        "service-stalled": "c: achieved nothing for 99 s",
        "service-waiting": "d: waits for a",
        "job-dead": "2 dead jobs: see `ringrift jobs ls`",
        "dead-letters": "dead letters of webhook: see `ringrift events dead`",
        "disk-full": "the disk is 93% full: no new work is begun",
        "breaker-open": "no calls to webhook for now: the last ones failed",
    }
    assert raised(replace(HEALTHY, pressure=Pressure(Level.CRITICAL, 0.9, "jobs"))) == {
        "pressure": "jobs at 90% of what it can take"
    }


def test_backpressure_and_alerts_under_the_supervisor() -> None:
    clock = VirtualClock()
    ctx = context(clock)
    settings = SupervisionSettings(full_jobs=10, disk_clean=0.99, disk_stop=1.0)
    supervisor = supervisor_of([], ctx, Profile.LAPTOP, settings, effects=[])
    jobs = ctx.run.fabric.jobs

    def go(seconds: float) -> list[str]:
        before, end = ctx.bus.log.last(), clock.now() + seconds
        while clock.now() < end:
            clock.advance(min(supervisor.run_due() or 0.01, end - clock.now()))
        return [entry.type for entry in ctx.bus.log.read(before)]

    go(20)
    jobs.put([Job(f"j{n}", "selfplay") for n in range(9)])
    assert go(20).count("PressureChanged") == 1
    assert supervisor.snapshot().pressure == Pressure(Level.CRITICAL, 0.9, "jobs")
    assert "AlertRaised" in go(70)
    assert [alert.name for alert in supervisor.snapshot().alerts] == ["pressure"]
    for n in range(9):
        jobs.stop(f"j{n}")
    go(20)
    assert supervisor.snapshot().pressure.part != "jobs"


def test_log_lines_carry_what_they_belong_to(tmp_path: Path) -> None:
    log.info("goes nowhere")
    path = tmp_path / "logs" / "laptop.jsonl"
    with writing(path, 1_000_000):
        with bound(service="train", sequence=7):
            log.info("step", what="train", path=path)
        log.error("failed", error="é")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["step", "failed"]
    assert lines[0]["service"] == "train" and lines[0]["sequence"] == 7 and lines[0]["level"] == "info"
    assert lines[0]["path"] == str(path) and lines[1]["error"] == "é"
    assert lines[0]["timestamp"].endswith("Z")


def test_log_files_are_set_aside_by_size(tmp_path: Path) -> None:
    path = tmp_path / "laptop.jsonl"
    with writing(path, 2_000):
        for number in range(200):
            log.info("line", number=number)
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept == ["laptop.jsonl", "laptop.jsonl.1", "laptop.jsonl.2", "laptop.jsonl.3"]
    assert all(file.stat().st_size <= 2_000 for file in tmp_path.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["number"] == 199


def test_a_log_without_room_is_told_once_and_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "laptop.jsonl"
    path.symlink_to("/dev/full")
    with writing(path, 0):
        for number in range(20):
            log.info("line", number=number)
    assert capfd.readouterr().err == f"{path} lacks lines: No space left on device\n"
    path.unlink()
    with writing(path, 0):
        log.warning("room again")
    assert json.loads(path.read_text())["lines_dropped"] == 20


def test_events_are_logged_with_their_sequence(tmp_path: Path) -> None:
    ctx = context(VirtualClock())
    sequence = ctx.publish(GamesValidated(config="square8_2p", job="j", valid=3, quarantined=1), parent=None)
    with writing(tmp_path / "x.jsonl", 1_000_000):
        deliver(EFFECTS[0], ctx)
    (line,) = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert line["event"] == "GamesValidated" and line["sequence"] == sequence
    assert line["job"] == "j" and line["valid"] == 3 and line["effect"] == "log"


def test_failures_are_logged_with_traceback(tmp_path: Path) -> None:
    def run(*_: object) -> None:
        raise DataError("no")

    ctx = context(VirtualClock())
    ctx.publish(GamesValidated(job="j", valid=3, quarantined=1))
    with writing(tmp_path / "x.jsonl", 1_000_000):
        deliver(Effect("e", run, (GamesValidated,), attempts=1), ctx)
    (line,) = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert line["event"] == "dead letter" and "DataError: no" in line["error"]
