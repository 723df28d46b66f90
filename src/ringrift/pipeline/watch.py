"""What a person sees of a running loop: lines, bars of the running jobs, or the whole of it, read from the run alone.

So whatever shows it may run in another process than the loop.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ringrift.fabric import Job, JobState, LogEntry
from ringrift.pipeline.bus import event_of
from ringrift.pipeline.display import wide_console
from ringrift.pipeline.events import (
    AlertCleared,
    AlertRaised,
    Event,
    GamesAudited,
    JobDied,
    MatchFinished,
    ModelPromoted,
    ModelRejected,
    ModelRolledBack,
    PlateauReached,
    PressureChanged,
    RegressionDetected,
    ServiceFailed,
    ServiceRecovered,
    ServiceStalled,
    TrainingFinished,
)
from ringrift.pipeline.loop import elos, gain
from ringrift.pipeline.stages import games_seen
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.samples import shards

E = TypeVar("E", bound=Event)
EVENTS_SHOWN = 8
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
    """Of an error, without its traceback."""
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
    """A line per milestone, and one a minute for each config, on standard error."""

    def __init__(self) -> None:
        self.console = wide_console(stderr=True)
        self._told = time.monotonic()

    def line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        if time.monotonic() - self._told < MINUTE:
            return
        self._told = time.monotonic()
        for config in configs:
            flow, (count, newest) = GameStore(run).flow(config), ModelStore(run).newest(config, "candidate")
            busy = Counter(job.kind for job in run.fabric.jobs.ls(states=LIVE, config=config))
            doing = ", ".join(f"{many} {kind}" for kind, many in sorted(busy.items())) or "none"
            every = flow.exported + flow.valid + flow.waiting
            now, new = time.strftime("%H:%M:%S"), every - games_seen(newest)
            models = f"{count} models; running jobs: {doing}"
            self.line(f"{now} {config} has {every:,} games, {new:,} of them since its last training, and {models}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class JobBars(Lines):
    """The same above a bar for each running job."""

    def __init__(self) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description:44}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TextColumn("{task.fields[remark]}", style="dim"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=self.console)
        self._bars: dict[str, TaskID] = {}

    def show(self, run: RunDirectory, configs: Sequence[str]) -> None:
        jobs = {job.id: job for job in run.fabric.jobs.ls(states=LIVE)}
        for gone in self._bars.keys() - jobs.keys():
            self._progress.remove_task(self._bars.pop(gone))
        for id_, job in sorted(jobs.items()):
            if id_ not in self._bars:
                self._bars[id_] = self._progress.add_task(title_of(job), total=None, rate="", remark="")
            done, total = _progress(job)
            remark = str(job.progress.get("remark", ""))
            self._progress.update(self._bars[id_], completed=done, total=total, rate=rate_of(job), remark=remark)

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
            except (OSError, SystemExit):  # rich leaves with `SystemExit` where the reader of a pipe is gone
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
        table.add_column(column, justify="right" if number and column[0].islower() else "left")
    return table


def configs_table(run: RunDirectory, configs: Sequence[str]) -> Table:
    """Games, samples, models and strength of each config."""
    table = _table(
        f"{run.path}",
        "config",
        "games",
        "to replay",
        "samples",
        "new games",
        "models",
        "Newest",
        "Promoted",
        "Elo",
        "Gain",
    )
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
        table.add_row(
            config, f"{every:,}", f"{flow.waiting:,}", f"{samples:,}", f"{every - games_seen(newest):,}", str(count),
            newest.id if newest else "", promoted or "", strength, speed,
        )  # fmt: skip
    return table


def jobs_table(run: RunDirectory) -> Table:
    """What runs, with progress, and how many wait."""
    counts: dict[tuple[str, JobState], int] = {}
    for (kind, _, state), many in run.fabric.jobs.counts().items():
        counts[kind, state] = counts.get((kind, state), 0) + many
    waiting = [f"{many} {kind}" for (kind, state), many in sorted(counts.items()) if state is JobState.WAITING]
    dead = sum(many for (_, state), many in counts.items() if state is JobState.DEAD)
    title = f"jobs; waiting: {', '.join(waiting) or 'none'}; dead: {dead or 'none'}"
    table = _table(title, "job", "Progress", "done", "rate", "left", "Remark")
    for job in sorted(run.fabric.jobs.ls(states=LIVE), key=lambda job: job.id):
        done, total = _progress(job)
        speed = float(str(job.progress.get("rate", 0) or 0))
        left = f"{(total - done) / speed:,.0f} s" if speed and total else ""
        bar = ProgressBar(total or 1, done, width=24)
        remark = str(job.progress.get("remark", ""))
        table.add_row(title_of(job), bar, f"{done:,.0f}/{total or 0:,.0f}", rate_of(job), left, remark)
    return table


def services_table(run: RunDirectory) -> Table:
    """Workers and services of every process."""
    registry = run.fabric.registry
    nodes = [
        f"{node.key.removeprefix('node/').partition(':')[0]}: {node.value['jobs']} jobs, "
        f"{float(str(node.value['load'])):.0%} busy"
        for node in registry.ls("node/")
    ]
    table = _table(f"services; workers: {'; '.join(nodes) or 'none'}", "service", "State", "ticks", "steps", "Note")
    for entry in registry.ls("service/"):
        value = entry.value
        name = entry.key.rpartition("/")[2]
        note = first_line(str(value.get("note", "")))
        table.add_row(name, str(value.get("state")), str(value.get("ticks")), str(value.get("steps")), note)
    return table


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
