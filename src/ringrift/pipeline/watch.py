"""What a person sees of a running loop: lines, bars of the running jobs, or the whole of it, read from the run alone.

So whatever shows it may run in another process than the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import TaskID, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ringrift.fabric import Job, JobState, LogEntry
from ringrift.fabric.workers import NODE, failing
from ringrift.kernel.bus import event_of
from ringrift.kernel.events import (
    AlertCleared,
    AlertRaised,
    Event,
    JobDied,
    PressureChanged,
    ServiceFailed,
    ServiceRecovered,
    ServiceStalled,
    WorkerReleased,
    WorkerSetAside,
)
from ringrift.pipeline.display import FieldColumn, Fitting, whole_column, wide_console
from ringrift.pipeline.events import (
    GamesAudited,
    LoopStarted,
    MatchFinished,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    PlateauReached,
    RegressionDetected,
    SelfplayFinished,
    TrainingFinished,
)
from ringrift.pipeline.loop import elos, gain
from ringrift.pipeline.models import games_seen
from ringrift.pipeline.outlook import ahead
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.samples import shards

E = TypeVar("E", bound=Event)
EVENTS_SHOWN = 8
ALERTS_READ, BATCHES_READ = 500, 5000  #: events that are looked at
MINUTE = 60.0
LIVE = (JobState.LEASED,)


def _trained(e: TrainingFinished) -> str:
    return f"{e.model} trained from {e.trained_from}: {e.steps} steps, loss {e.loss_before:.3f} → {e.loss_after:.3f}"


def _played(e: MatchFinished) -> str:
    return f"{e.a} won {e.score:.2f} ({e.low:.2f}–{e.high:.2f}) of {e.games} games against {e.b} ({e.opponent})"


#: What a person wants to hear at once, as a phrase.
MILESTONES: dict[type[Event], Callable[..., str]] = {
    TrainingFinished: _trained,
    MatchFinished: _played,
    ModelPromoted: lambda e: f"{e.model} promoted: {e.reason}",
    ModelRejected: lambda e: f"{e.model} not promoted: {e.reason}",
    RegressionDetected: lambda e: f"{e.grade} regression of {e.model}: {e.reason}",
    ModelRolledBack: lambda e: f"{e.model} rolled back to {e.to}: {e.reason}; {e.retracted:,} games retracted",
    GamesAudited: lambda e: f"{e.searched} games searched again, {len(e.quarantined)} quarantined",
    PlateauReached: lambda e: f"plateau: {e.gain:+.1f} Elo ({e.low:+.1f} to {e.high:+.1f}) per 1,000 games",
    WorkerSetAside: lambda e: f"worker {e.worker} set aside: it failed {e.refuted} jobs that others did: {e.error}",
    WorkerReleased: lambda e: f"worker {e.worker} is no longer set aside",
    JobDied: lambda e: f"job {e.job} is dead after {e.attempts} attempts: {first_line(e.error)}",
    ServiceFailed: lambda e: f"service {e.service} failed ({e.failures} in a row): {first_line(e.error)}",
    ServiceRecovered: lambda e: f"service {e.service} works again",
    ServiceStalled: lambda e: f"service {e.service} has achieved nothing for {e.seconds:.0f} s",
    PressureChanged: lambda e: f"pressure is {e.level}: {e.part} at {e.share:.0%}",
    AlertRaised: lambda e: f"{e.severity}: {e.text}",
    AlertCleared: lambda e: f"over: {e.alert}",
}
MILESTONE_TYPES = tuple(kind.__name__ for kind in MILESTONES)


def first_line(text: str) -> str:
    """What an error says, without its traceback."""
    return text.partition("\n")[0]


def milestone(entry: LogEntry) -> str:
    """`14:03:21 square8_2p m-0123 promoted: …`; empty for other events."""
    found = event_of(entry)
    if found is None or type(found.event) not in MILESTONES:
        return ""
    said = MILESTONES[type(found.event)](found.event)
    return " ".join(filter(None, (time.strftime("%H:%M:%S", time.localtime(entry.at)), found.event.config, said)))


class Screen(Protocol):
    """Where a loop shows itself."""

    def line(self, text: str) -> None:
        """Something worth a line has happened."""

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        """How it stands now; called about twice a second."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Lines:
    """A line per milestone, and one a minute for each config: how far its next candidate is; on standard error."""

    def __init__(self) -> None:
        self.console = wide_console(stderr=True)
        self._told = time.monotonic()

    def line(self, text: str) -> None:
        self.console.print(text, highlight=False)

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        if time.monotonic() - self._told < MINUTE:
            return
        self._told = time.monotonic()
        for config in configs:
            if text := ahead(run, config):
                self.line(f"{time.strftime('%H:%M:%S')} {config} {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class JobBars(Lines):
    """What happens, line by line, above a bar for each running job."""

    def __init__(self) -> None:
        super().__init__()
        self._progress = Fitting(FieldColumn("rate"), TimeElapsedColumn(whole_column()), console=self.console)
        self._bars: dict[str, TaskID] = {}

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        super().show(run, configs)
        jobs = {job.id: job for job in run.fabric.jobs.ls(states=LIVE)}
        for gone in self._bars.keys() - jobs.keys():
            self._progress.remove_task(self._bars.pop(gone))
        for id_, job in sorted(jobs.items()):
            if id_ not in self._bars:
                self._bars[id_] = self._progress.add_task(title_of(job), total=None, rate="", remark="")
            done, total = _progress(job)
            remark = str(job.progress.get("remark", ""))
            self._progress.update(
                self._bars[id_],
                completed=done,
                total=total,
                description=title_of(job),
                rate=rate_of(job),
                remark=remark,
            )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class Lasting:
    """Another screen, until it cannot be written any more: a terminal that is gone ends no loop."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._gone = screen, False

    def _try(self, show: Callable[[], object]) -> None:
        if not self._gone:
            try:
                show()
            except OSError:
                self._gone = True

    def line(self, text: str) -> None:
        self._try(lambda: self._screen.line(text))

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        self._try(lambda: self._screen.show(run, configs))

    def __enter__(self) -> Self:
        self._try(self._screen.__enter__)
        return self

    def __exit__(self, *_: object) -> None:
        self._try(lambda: self._screen.__exit__(None, None, None))


def screen_for(*, watch: bool) -> Screen:
    """The screen for this terminal, or for none."""
    if watch:
        return Lasting(Whole())
    return Lasting(JobBars() if wide_console(stderr=True).is_terminal else Lines())


class Whole(Lines):
    """Everything at once: configs, jobs, workers, services, events, alerts."""

    def __init__(self) -> None:
        super().__init__()
        self._live = Live(console=self.console, auto_refresh=False, screen=self.console.is_terminal)

    def line(self, text: str) -> None:
        pass  # among the events

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        self._live.update(whole(run, configs), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def whole(run: RunDirectory, configs: Sequence[str]) -> RenderableType:
    """The loop of a run, now."""
    parts = [configs_table(run, configs), jobs_table(run), services_table(run)]
    recent = [text for entry in run.fabric.log.tail(EVENTS_SHOWN, types=MILESTONE_TYPES) if (text := milestone(entry))]
    events = Text("\n".join(recent) or "nothing worth a line has happened yet", no_wrap=True, overflow="ellipsis")
    return Group(*parts, Text("last events", style="italic"), events)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(columns):
        figures = bool(number) and column[0].islower()
        table.add_column(column, justify="right" if figures else "left", no_wrap=figures)
    return table


#: Columns of the tables; those in small letters hold numbers.
CONFIG_COLUMNS = (
    "config", "games", "to replay", "samples", "new games", "models", "Newest", "Promoted", "Elo", "Gain",
)  # fmt: skip
SERVICE_COLUMNS = ("service", "State", "ticks", "steps", "Note")


def configs_table(run: RunDirectory, configs: Sequence[str]) -> Table:
    """Games, samples, models and strength of each config."""
    table = _table(f"{run.path}", *CONFIG_COLUMNS)
    for row in config_rows(run, configs):
        table.add_row(*row)
    return table


def config_rows(run: RunDirectory, configs: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """A row of `CONFIG_COLUMNS` for each config."""
    games, models = GameStore(run), ModelStore(run)
    for config in configs:
        flow, promoted = games.flow(config), models.promoted(config)
        count, newest = models.newest(config, "candidate")
        samples = sum(shard.samples for shard in shards(run, config))
        rating = elos(run, config).get(promoted or "")
        strength = f"{rating.elo:+.0f} ({rating.low:+.0f} to {rating.high:+.0f})" if rating else ""
        found = gain(run, config)
        slope = found and found.per_1000_games
        speed = f"{slope.per_unit:+.0f} ({slope.low:+.0f} to {slope.high:+.0f}) per 1,000 games" if slope else ""
        every = flow.exported + flow.valid + flow.waiting
        yield (
            config, f"{every:,}", f"{flow.waiting:,}", f"{samples:,}", f"{every - games_seen(newest):,}", str(count),
            newest.id if newest else "", promoted or "", strength, speed,
        )  # fmt: skip


def jobs_table(run: RunDirectory) -> Table:
    """What runs, with progress, and how many wait."""
    table = _table(f"jobs; {jobs_told(run)}", "job", "Progress", "done", "rate", "left", "Remark")
    for title, done, total, *rest in job_rows(run):
        bar = ProgressBar(total or 1, done, width=24)
        table.add_row(title, bar, f"{done:,.0f}/{total or 0:,.0f}", *rest)
    return table


def jobs_told(run: RunDirectory) -> str:
    """How many jobs wait, and how many are dead."""
    counts: dict[tuple[str, JobState], int] = {}
    for (kind, _, state), many in run.fabric.jobs.counts().items():
        counts[kind, state] = counts.get((kind, state), 0) + many
    waiting = [f"{many} {kind}" for (kind, state), many in sorted(counts.items()) if state is JobState.WAITING]
    dead = sum(many for (_, state), many in counts.items() if state is JobState.DEAD)
    return f"waiting: {', '.join(waiting) or 'none'}; dead: {dead or 'none'}"


def job_rows(run: RunDirectory) -> Iterator[tuple[str, float, float | None, str, str, str]]:
    """Title, done, total, rate, time left and remark of each running job."""
    for job in sorted(run.fabric.jobs.ls(states=LIVE), key=lambda job: job.id):
        done, total = _progress(job)
        speed = float(str(job.progress.get("rate", 0) or 0))
        left = f"{(total - done) / speed:,.0f} s" if speed and total else ""
        yield title_of(job), done, total, rate_of(job), left, str(job.progress.get("remark", ""))


def services_table(run: RunDirectory) -> Table:
    """Workers and services of every process."""
    addresses = {str(entry.value.get("address", "")) for entry in run.fabric.registry.ls("service/")} - {""}
    health = f"health: {', '.join(sorted(addresses)) or 'not served'}"
    table = _table(f"services; {health}; workers: {workers_told(run)}", *SERVICE_COLUMNS)
    for row in service_rows(run):
        table.add_row(*row)
    return table


def workers_told(run: RunDirectory) -> str:
    """The workers and how busy they are."""
    registry = run.fabric.registry
    aside = {one.worker: one for one in failing(registry) if one.is_set_aside}
    nodes = []
    for node in registry.ls(NODE):
        name = node.key.removeprefix(NODE)
        told = f"{name.partition(':')[0]}: {node.value['jobs']} jobs, {float(str(node.value['load'])):.0%} busy"
        nodes.append(told + (f", set aside ({aside[name].text})" if name in aside else ""))
    return "; ".join(nodes) or "none"


def service_rows(run: RunDirectory) -> Iterator[tuple[str, ...]]:
    """A row of `SERVICE_COLUMNS` for each service."""
    for entry in run.fabric.registry.ls("service/"):
        value, name = entry.value, entry.key.rpartition("/")[2]
        note = first_line(str(value.get("note", "")))
        yield name, str(value.get("state")), str(value.get("ticks")), str(value.get("steps")), note


def loop_configs(run: RunDirectory) -> list[str]:
    """The configs that the run's loop trains, or has trained."""
    return [entry.key.partition("/")[2] for entry in run.fabric.registry.ls("settings/")]


def alerts_raised(run: RunDirectory) -> dict[str, AlertRaised]:
    """The alerts of the last loop that are not over, by name."""
    raised: dict[str, AlertRaised] = {}
    kinds = (LoopStarted, AlertRaised, AlertCleared)
    for entry in run.fabric.log.tail(ALERTS_READ, types=[kind.__name__ for kind in kinds]):
        event = (found := event_of(entry)) and found.event
        if isinstance(event, AlertRaised):
            raised[event.alert] = event
        elif isinstance(event, AlertCleared):
            raised.pop(event.alert, None)
        else:
            raised.clear()
    return raised


def games_by_hour(run: RunDirectory, hours: int, now: float) -> dict[str, list[int]]:
    """Games that self-play has finished in each of the last hours, by config; the last hour ends now."""
    found: dict[str, list[int]] = {}
    for entry in reversed(run.fabric.log.tail(BATCHES_READ, types=[SelfplayFinished.__name__])):
        if (back := int((now - entry.at) // 3600)) >= hours:
            break
        counts = found.setdefault(entry.key, [0] * hours)
        counts[hours - 1 - max(back, 0)] += int(str(entry.payload["games"]))
    return dict(sorted(found.items()))


def title_of(job: Job) -> str:
    """`self-play of square8_2p: m-0123`."""
    return " ".join(filter(None, (job.kind, job.config, str(job.progress.get("title", "starts")))))


def rate_of(job: Job) -> str:
    """`31.2/s`."""
    rate = float(str(job.progress.get("rate", 0) or 0))
    return f"{rate:,.{0 if rate >= 10 else 1}f}/s" if rate else ""


def _progress(job: Job) -> tuple[float, float | None]:
    done, total = job.progress.get("done", 0), job.progress.get("total")
    return float(str(done)), float(str(total)) if total else None
