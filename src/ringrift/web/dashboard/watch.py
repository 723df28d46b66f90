"""The page that watches a loop: what runs, what is best and since when, games per hour, alerts. It only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from anyio import to_thread
from nicegui import ui

from ringrift.store import ModelStore, RunDirectory
from ringrift.web.dashboard.page import NO_RUN, frame
from ringrift.web.dashboard.parts import escaped, listing, table

EVERY_SECONDS, PATIENCE = 2.0, 1.0
HOURS = 24
COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#8c6bb1",
    "#7f7f7f",
    "#b15928",
    "#1b9e77",
    "#e7298a",
    "#66a61e",
)


def add(run: RunDirectory | None) -> None:
    """Adds the page."""
    shared = Shared(run) if run else None

    @ui.page("/loop")
    async def loop() -> None:
        with frame("The loop", "/loop"):
            if shared is None:
                ui.html(NO_RUN)
            else:
                Watch(shared)


@dataclass(frozen=True)
class Strength:
    """A rated model of a config."""

    model: str
    added: float
    elo: float
    low: float
    high: float
    promoted: bool
    """It was promoted at some time."""


@dataclass(frozen=True)
class View:
    """A loop at one moment, read from its run."""

    at: float
    """Unix time."""
    running: bool
    configs: Sequence[Sequence[str]]
    jobs: Sequence[tuple[str, float, float | None, str, str, str]]
    services: Sequence[Sequence[str]]
    told: str
    """What is to be said of workers, and of jobs that do not run."""
    alerts: dict[str, str]
    """Text by severity and name."""
    events: Sequence[str]
    games: dict[str, list[int]]
    """Games played in each of the last hours, by config."""
    strength: dict[str, list[Strength]]
    """Elo of the rated models, by config, oldest first."""


def look(run: RunDirectory, now: float) -> View:
    """The loop of a run."""
    from ringrift.pipeline import watch
    from ringrift.pipeline.loop import elos
    from ringrift.store.run import LOOP_LEASE

    configs, models = watch.loop_configs(run), ModelStore(run)
    strength = {}
    for config in configs:
        rated, best = elos(run, config), {entry.model for entry in models.history(config)}
        known = [(model, rated[model.id]) for model in models.ls(config) if model.id in rated]
        strength[config] = [Strength(m.id, m.added, r.elo, r.low, r.high, m.id in best) for m, r in known]
    tail = run.fabric.log.tail(12, types=watch.MILESTONE_TYPES)
    return View(
        at=now,
        running=run.fabric.leases.holder(LOOP_LEASE) is not None,
        configs=list(watch.config_rows(run, configs)), jobs=list(watch.job_rows(run)),
        services=list(watch.service_rows(run)),
        told=f"Workers: {watch.workers_told(run)}. Jobs {watch.jobs_told(run)}.",
        alerts={f"{alert.severity}: {name}": alert.text for name, alert in watch.alerts_raised(run).items()},
        events=[text for entry in reversed(tail) if (text := watch.milestone(entry))],
        games=watch.games_by_hour(run, HOURS, now), strength=strength,
    )  # fmt: skip


class Shared:
    """The loop of a run, looked at once for all visitors, and again when one asks after `EVERY_SECONDS`, or nearly."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._view: View | None = None
        self._looking: asyncio.Task[View] | None = None

    async def view(self) -> View | None:
        """The newest view; None while the first one takes longer than `PATIENCE`."""
        if self._looking is None and (self._view is None or time.time() - self._view.at > EVERY_SECONDS / 2):
            self._looking = asyncio.create_task(to_thread.run_sync(look, self.run, time.time()))
        if looking := self._looking:
            await asyncio.wait({looking}, timeout=PATIENCE)
            if looking.done():
                self._looking = None if self._looking is looking else self._looking
                self._view = looking.result()
        return self._view


class Watch:
    """What a visitor sees of a loop."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.elos: dict[str, ui.echart] = {}
        self.state = ui.html().props('role="status"')
        self.alerts = ui.html().props('role="alert"').classes("w-full")
        self.configs, self.jobs = self._part("What is best"), self._part("What runs")
        with ui.element("section").classes("panel").props('aria-label="Strength"'):
            ui.html("<h2 class='text-base m-0'>Elo of each model, with its interval</h2>")
            self.charts = ui.row().classes("w-full")
        with ui.element("section").classes("panel").props('aria-label="Games per hour"'):
            self.rate = ui.html()
            self.games = ui.echart(_chart("category")).classes("w-full").style("height: 12rem")
        self.events, self.services = self._part("Last events"), self._part("Services")
        self.timer = ui.timer(EVERY_SECONDS, self.update)

    def _part(self, title: str) -> ui.html:
        with ui.element("section").classes("panel").props(f'aria-label="{title}"'):
            ui.html(f"<h2 class='text-base m-0'>{title}</h2>")
            return ui.html().classes("w-full overflow-x-auto").props(f'tabindex="0" role="region" aria-label="{title}"')

    async def update(self) -> None:
        """Looks again."""
        from ringrift.pipeline.watch import CONFIG_COLUMNS, SERVICE_COLUMNS

        if (view := await self.shared.view()) is None:
            self.state.content = "Computing: the loop is being looked at for the first time"
            return
        at = time.strftime("%H:%M:%S", time.localtime(view.at))
        state = "The loop runs" if view.running else "No loop runs now"
        self.state.content = f"{state} in <code>{escape(str(self.shared.run.path))}</code>, as of {at}"
        self.alerts.content = "".join(
            f"<p class='alert'><strong>{escape(name)}</strong>: {escape(text)}</p>"
            for name, text in view.alerts.items()
        )
        self.configs.content = table(CONFIG_COLUMNS, map(escaped, view.configs))
        self.jobs.content = jobs(view)
        self.services.content = table(SERVICE_COLUMNS, map(escaped, view.services))
        self.events.content = listing(escaped(view.events))
        hour = sum(counts[-1] for counts in view.games.values())
        self.rate.content = f"<h2 class='text-base m-0'>Games per hour: {hour:,} in the last one</h2>"
        self.games.options["xAxis"]["data"] = [f"−{back} h" for back in range(HOURS - 1, -1, -1)]
        self.games.options["series"] = [
            {"type": "bar", "stack": "all", "name": config, "data": counts, "color": COLOURS[i % len(COLOURS)]}
            for i, (config, counts) in enumerate(view.games.items())
        ]
        self.games.update()
        for config, found in view.strength.items():
            if found:
                self._strength(config, found)

    def _strength(self, config: str, found: Sequence[Strength]) -> None:
        if config not in self.elos:
            with self.charts:
                self.elos[config] = ui.echart(_chart("time")).style("height: 14rem; flex: 1 1 20rem; min-width: 0")
        options = self.elos[config].options
        options["title"] = {"text": config, "textStyle": {"fontSize": 13, "color": "#7d776b"}}
        options["series"] = elo_series(found)
        self.elos[config].update()


def elo_series(found: Sequence[Strength]) -> list[dict[str, Any]]:
    """Elo as a line, promoted models as larger points, in the band of the intervals."""
    at = [round(one.added * 1000) for one in found]
    band = {
        "type": "line",
        "stack": "band",
        "stackStrategy": "all",
        "symbol": "none",
        "lineStyle": {"opacity": 0},
        "silent": True,
    }
    return [
        band | {"name": "low", "data": [[t, round(one.low, 1)] for t, one in zip(at, found, strict=True)]},
        band | {"name": "width", "areaStyle": {"color": COLOURS[0], "opacity": 0.2},
                "data": [[t, round(one.high - one.low, 1)] for t, one in zip(at, found, strict=True)]},
        {"type": "line", "name": "Elo", "color": COLOURS[0],
         "data": [{"value": [t, round(one.elo, 1)], "name": one.model, "symbolSize": 10 if one.promoted else 5}
                  for t, one in zip(at, found, strict=True)]},
    ]  # fmt: skip


def _chart(kind: str) -> dict[str, Any]:
    grey = {"color": "#7d776b"}
    return {
        "textStyle": grey, "animation": False, "grid": {"left": 48, "right": 16, "top": 32, "bottom": 28},
        "legend": {"show": kind == "category", "top": 0, "textStyle": grey}, "tooltip": {"trigger": "item"},
        "xAxis": {"type": kind}, "yAxis": {"type": "value", "scale": kind == "time"}, "series": [],
    }  # fmt: skip


def jobs(view: View) -> str:
    """What runs, with bars, as HTML."""
    rows = [
        (escape(title), f"<progress aria-label='{escape(title)}' value={done:g} max={total or 1:g}></progress>",
         f"{done:,.0f}/{total or 0:,.0f}", rate, left, escape(remark))
        for title, done, total, rate, left, remark in view.jobs
    ]  # fmt: skip
    shown = table(("Job", "Progress", "done", "rate", "left", "Remark"), rows) if rows else "<p>No job runs.</p>"
    return f"{shown}<p class='soft text-sm'>{escape(view.told)}</p>"
