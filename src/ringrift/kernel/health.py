"""What a process knows of itself: its services, figures of the run and the machine, the gauge of backpressure, alerts.

Everything but `measure` is a pure function. The gauge slows the producers, the alerts call somebody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from ringrift.clock import back_off
from ringrift.fabric import JobState, Registry
from ringrift.fabric.workers import NODE, failing
from ringrift.kernel.effects import Effect, dead_letters, depth
from ringrift.kernel.events import AlertCleared, AlertRaised, Event, PressureChanged
from ringrift.kernel.service import Context, Level
from ringrift.kernel.settings import Supervision
from ringrift.observe.breakers import BREAKERS

STALL_FACTOR = 5.0  #: times its usual interval without an achievement, and a service has stalled
BASELINE_WEIGHT = 0.2  #: of the newest interval in the usual one
BORDERS = {Level.LOW: 0.0, Level.MEDIUM: 0.3, Level.HIGH: 0.6, Level.CRITICAL: 0.8}
MARGIN = 0.05  #: a level is left this far below its border
MEMORY_EASY, MEMORY_FULL = 0.5, 0.95  #: shares of the machine's memory in use, at which that part is 0 and 1


@dataclass(frozen=True)
class ServiceStatus:
    """How a service does. The methods give what it becomes; times are those of the context's monotonic clock."""

    name: str
    required: bool = True
    state: str = "starting"
    """`starting`, `waiting` for another service, `idle`, `running`, `failing`, `stalled` or `stopped`."""
    note: str = ""
    """Why, as a phrase."""
    ticks: int = 0
    steps: int = 0
    failures: int = 0
    """Ticks that failed in a row."""
    failed: int = 0
    """Ticks that failed in all."""
    last_tick: float = 0.0
    """Unix time at its end."""
    seconds: float = 0.0
    """What the last tick took."""
    busy: float = 0.0
    """What all of them took."""
    backlog: float = 0.0
    worked: bool = False
    """Has had a tick that did not fail."""
    due: float = 0.0
    """When the next tick is."""
    since: float = 0.0
    """When it last achieved something, or had nothing to do."""
    usual: float = 0.0
    """Seconds from there to an achievement, averaged."""

    @property
    def healthy(self) -> bool:
        return self.state not in ("failing", "stalled")

    def succeeded(
        self, steps: int, backlog: float, every: float, started: float, now: float, floor: float
    ) -> ServiceStatus:
        """After a tick that carried out so many steps, with so much still waiting."""
        usual, since, state, note = self.usual, self.since, "idle", ""
        if steps:
            usual = now - since if not usual else usual + BASELINE_WEIGHT * (now - since - usual)
        if steps or not backlog:
            since = now
        elif now - since > max(floor, STALL_FACTOR * usual):
            state, note = "stalled", f"achieved nothing for {now - since:.0f} s while {backlog:g} wait"
        return replace(
            self, state=state, note=note, ticks=self.ticks + 1, steps=self.steps + steps, failures=0, backlog=backlog,
            seconds=now - started, busy=self.busy + now - started, worked=True, due=now + every, since=since,
            usual=usual,
        )  # fmt: skip

    def broke(self, error: str, started: float, now: float) -> ServiceStatus:
        """After a tick that failed: due again after a back-off."""
        failures = self.failures + 1
        wait = back_off(failures, first=2.0)
        return replace(
            self, state="failing", note=error, ticks=self.ticks + 1, failures=failures, failed=self.failed + 1,
            seconds=now - started, busy=self.busy + now - started, due=now + wait,
        )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Figures of the fabric and the machine; a project adds its own."""

    at: float = 0.0
    jobs: Mapping[tuple[str, str, JobState], int] = field(default_factory=dict)
    """How many by kind, config and state."""
    events: int = 0
    """Sequence number of the last one."""
    depths: Mapping[str, int] = field(default_factory=dict)
    """Events that wait for each effect."""
    dead: Mapping[str, int] = field(default_factory=dict)
    """Dead letters of each effect."""
    memory: float = 0.0
    """Share of the machine's memory in use."""
    disk: float = 0.0
    """Share of the run's disk in use."""
    disk_full: bool = False
    """No new work is begun."""
    rss_bytes: int = 0
    """Memory of this process."""
    breakers: Mapping[str, str] = field(default_factory=dict)
    set_aside: Mapping[str, str] = field(default_factory=dict)
    """What workers that are set aside have done, by their names."""

    def parts(self, settings: Supervision) -> dict[str, float]:
        """How full each part is; 1 and more is full. A project adds its own."""
        waiting = sum(number for (_, _, state), number in self.jobs.items() if state is JobState.WAITING)
        return {
            "events": max(self.depths.values(), default=0) / settings.full_events,
            "jobs": waiting / settings.full_jobs,
            "memory": _between(self.memory, MEMORY_EASY, MEMORY_FULL),
            "disk": _between(self.disk, settings.disk_clean, settings.disk_stop),
        }


@dataclass(frozen=True)
class Pressure:
    """The gauge of backpressure."""

    level: Level = Level.LOW
    share: float = 0.0
    """How full the fullest part is, 0 to 1."""
    part: str = ""
    """Which one that is."""


@dataclass(frozen=True)
class Alert:
    """What a rule finds, or has found until a moment ago."""

    name: str
    severity: str
    text: str
    since: float
    """When its condition last changed; monotonic."""
    holds: bool
    """Whether the condition holds now."""
    raised: bool


@dataclass(frozen=True)
class Snapshot:
    """The whole at one moment: what `/health`, `/metrics` and the live view show."""

    process: str
    profile: str
    at: float
    services: tuple[ServiceStatus, ...]
    measured: Measured
    pressure: Pressure
    alerts: tuple[Alert, ...]
    """Alerts that are raised."""

    @property
    def ready(self) -> bool:
        """Every service has worked once."""
        return all(service.worked for service in self.services)


def disk_share(path: Path) -> float:
    """How much of the disk that holds `path` is in use, 0 to 1."""
    return float(psutil.disk_usage(str(path)).percent) / 100


def measure(ctx: Context, effects: Sequence[Effect[Any]]) -> Measured:
    """Looks at the fabric and the machine."""
    fabric = ctx.run.fabric
    dead = [letter.effect for letter in dead_letters(fabric.registry)]
    return Measured(
        at=ctx.clock.now(),
        jobs=fabric.jobs.counts(),
        events=fabric.log.last(),
        depths={effect.name: depth(effect.name, fabric) for effect in effects},
        dead={name: dead.count(name) for name in sorted(set(dead))},
        memory=psutil.virtual_memory().percent / 100,
        disk=disk_share(ctx.run.path),
        disk_full=disk_share(ctx.run.path) >= ctx.services.disk_stop,
        rss_bytes=psutil.Process().memory_info().rss,
        breakers=BREAKERS.states(),
        set_aside=_set_aside(fabric.registry),
    )


def _set_aside(registry: Registry) -> dict[str, str]:
    alive = {node.key.removeprefix(NODE) for node in registry.ls(NODE)}
    return {one.worker: one.text for one in failing(registry) if one.is_set_aside and one.worker in alive}


# -- backpressure ------------------------------------------------------------------------------------------------------


def _between(share: float, empty: float, full: float) -> float:
    return max(0.0, (share - empty) / (full - empty)) if full > empty else float(share >= full)


def gauge(parts: Mapping[str, float], before: Level) -> Pressure:
    """The level by the fullest part; one that was reached is left only `MARGIN` below its border."""
    part = max(parts, key=lambda name: parts[name])
    share = min(1.0, parts[part])
    reached = [
        level for level, border in BORDERS.items() if share >= border - (MARGIN if border <= BORDERS[before] else 0.0)
    ]
    return Pressure(reached[-1], share, part)


# -- alerts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """When somebody is to be told of something: a row of a project's alerts."""

    name: str
    severity: str
    """`info`, `warning` or `critical`."""
    when: Callable[[Snapshot], str | None]
    """What there is to say while the condition holds."""
    hold: float = 0.0
    """Seconds for which it has to hold before the alert is raised, and not to hold before it is cleared."""


def judge(
    rules: Sequence[Rule], snapshot: Snapshot, alerts: Mapping[str, Alert], now: float
) -> tuple[dict[str, Alert], list[Event]]:
    """The alerts as they are now, and what is to be said of those that were raised or cleared."""
    after: dict[str, Alert] = {}
    news: list[Event] = []
    for rule in rules:
        text = rule.when(snapshot)
        alert = alerts.get(rule.name) or Alert(rule.name, rule.severity, "", now, False, False)
        if (text is not None) != alert.holds:
            alert = replace(alert, holds=text is not None, since=now)
        alert = replace(alert, text=text or alert.text)
        if alert.holds != alert.raised and now - alert.since >= rule.hold:
            alert = replace(alert, raised=alert.holds)
            if alert.raised:
                news.append(AlertRaised(alert=alert.name, severity=alert.severity, text=alert.text))
            else:
                news.append(AlertCleared(alert=alert.name))
        after[rule.name] = alert
    return after, news


def _services(snapshot: Snapshot, state: str, failures: int = 0) -> str | None:
    found = [s for s in snapshot.services if s.state == state and s.failures >= failures]
    return "; ".join(f"{service.name}: {service.note}" for service in found) or None


def _waiting(snapshot: Snapshot) -> str | None:
    return _services(snapshot, "waiting")


def _dead_jobs(snapshot: Snapshot) -> str | None:
    dead = sum(number for (_, _, state), number in snapshot.measured.jobs.items() if state is JobState.DEAD)
    return f"{dead} dead jobs: see `ringrift jobs ls`" if dead else None


def _workers(snapshot: Snapshot) -> str | None:
    return "; ".join(f"{worker}: {told}" for worker, told in snapshot.measured.set_aside.items()) or None


def _dead_letters(snapshot: Snapshot) -> str | None:
    dead = snapshot.measured.dead
    return f"dead letters of {', '.join(dead)}: see `ringrift events dead`" if dead else None


def _disk(snapshot: Snapshot) -> str | None:
    measured = snapshot.measured
    return f"the disk is {measured.disk:.0%} full: no new work is begun" if measured.disk_full else None


def _pressure(snapshot: Snapshot) -> str | None:
    pressure = snapshot.pressure
    critical = pressure.level is Level.CRITICAL and not (pressure.part == "disk" and snapshot.measured.disk_full)
    return f"{pressure.part} at {pressure.share:.0%} of what it can take" if critical else None


def _breakers(snapshot: Snapshot) -> str | None:
    opened = [name for name, state in snapshot.measured.breakers.items() if state != "closed"]
    return f"no calls to {', '.join(opened)} for now: the last ones failed" if opened else None


RULES: tuple[Rule, ...] = (
    Rule("service-failing", "warning", lambda snapshot: _services(snapshot, "failing", 3)),
    Rule("service-stalled", "warning", lambda snapshot: _services(snapshot, "stalled")),
    Rule("service-waiting", "warning", _waiting, hold=120.0),
    Rule("job-dead", "warning", _dead_jobs),
    Rule("worker-set-aside", "warning", _workers),
    Rule("dead-letters", "warning", _dead_letters),
    Rule("disk-full", "critical", _disk),
    Rule("pressure", "critical", _pressure, hold=60.0),
    Rule("breaker-open", "info", _breakers),
)


class Health:
    """What `look` saw last."""

    def __init__(self, settings: Supervision, rules: Sequence[Rule] = RULES) -> None:
        self._settings, self._rules = settings, rules
        self.measured, self.pressure = Measured(), Pressure()
        self._alerts: dict[str, Alert] = {}

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self._alerts.values() if alert.raised)

    def look(self, measured: Measured, now: float, snapshot: Callable[[], Snapshot]) -> list[Event]:
        """Moves the gauge and judges the rules by what was measured; what has changed by it. `now` is monotonic."""
        news: list[Event] = []
        self.measured = measured
        before, self.pressure = self.pressure, gauge(measured.parts(self._settings), self.pressure.level)
        if self.pressure.level is not before.level:
            pressure = self.pressure
            news.append(PressureChanged(level=pressure.level.value, share=pressure.share, part=pressure.part))
        self._alerts, told = judge(self._rules, snapshot(), self._alerts, now)
        return [*news, *told]
