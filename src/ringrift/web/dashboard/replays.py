"""The pages of the stored games: a list with filters, and one game step by step."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from nicegui import events, ui

from ringrift.analysis import position_at
from ringrift.errors import RingRiftError
from ringrift.rules import Record
from ringrift.store import GameStore, RunDirectory
from ringrift.web.dashboard.board import Marks, board_svg
from ringrift.web.dashboard.choices import cells_told
from ringrift.web.dashboard.page import board, frame
from ringrift.web.dashboard.parts import REASONS, chances, listing, ply_told, seat_table, sign, table

PAGE = 50
SEAT_COLOURS, GREY = ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), "#7d776b"


def add(run: RunDirectory | None) -> None:
    """Adds the pages."""

    @ui.page("/games")
    async def games() -> None:
        with frame("Stored games", "/games"):
            if run is None:
                ui.html("No run was given: start with <code>ringrift dashboard --run DIR</code>.")
            else:
                await Games(run).show()

    @ui.page("/games/{name}")
    async def game(name: str, ply: int = 0) -> None:
        with frame(f"Game {name}", "/games"):
            try:
                if run is not None:
                    record = await to_thread.run_sync(lambda: GameStore(run).find(name).read())
                    Replay(record, min(max(ply, 0), len(record.moves)))
            except RingRiftError as error:
                ui.html(escape(str(error)))


def listed(run: RunDirectory, *, before: int = 0, **filters: Any) -> list[dict[str, Any]]:
    """Up to 50 games, newest first, with ids below `before`. Filters, those that are set: `config`, `winner`, `reason`,
    `player` (a part of the name of one), `plies` (at least)."""
    tests = {"config": "config = ?", "winner": "winner = ?", "reason": "reason LIKE '%' || ?",
             "player": "instr(engines, ?)", "plies": "plies >= ?"}  # fmt: skip
    given = {name: value for name, value in filters.items() if value}
    where = " AND ".join(["(?1 = 0 OR id < ?1)", *(tests[name] for name in given)])
    query = f"SELECT id, config, plies, winner, reason, engines, created FROM games WHERE {where} ORDER BY id DESC"
    return [dict(row) for row in run.database.rows(f"{query} LIMIT {PAGE}", [before, *given.values()])]


class Games:
    """The list of a visitor."""

    def __init__(self, run: RunDirectory) -> None:
        self.run, self.filters, self.before = run, dict[str, Any](), 0

    async def show(self) -> None:
        """Filters and list."""
        configs = [row.config for row in await to_thread.run_sync(GameStore(self.run).counts)]
        with ui.row().classes("items-end gap-3"):
            self._select("config", "Config", {"": "any", **{name: name for name in configs}})
            self._select("winner", "Winner", {0: "any", **{seat: f"seat {seat}" for seat in range(1, 5)}})
            self._select("reason", "End", {"": "any", **REASONS})
            ui.input("Player", on_change=lambda e: self.set("player", e.value)).props("dense debounce=300").classes(
                "w-32"
            )
            ui.number("Plies, at least", min=0, on_change=lambda e: self.set("plies", e.value)).props("dense").classes(
                "w-32"
            )
        self.table = ui.html().classes("w-full overflow-x-auto").props('tabindex="0" role="region" aria-label="Games"')
        with ui.row():
            ui.button("Newest", on_click=lambda: self.page(0)).props("no-caps outline")
            self.older = ui.button("Older", on_click=lambda: self.page(self.last)).props("no-caps outline")
        await self.page(0)

    def _select(self, name: str, label: str, options: dict[Any, str]) -> None:
        ui.select(options, value=next(iter(options)), label=label, on_change=lambda e: self.set(name, e.value)).props(
            "dense"
        ).classes("w-40")

    async def set(self, name: str, value: Any) -> None:
        """Changes a filter."""
        self.filters[name] = value
        await self.page(0)

    async def page(self, before: int) -> None:
        """Shows the games before that one."""
        rows = await to_thread.run_sync(lambda: listed(self.run, before=before, **self.filters))
        self.last = rows[-1]["id"] if rows else 0
        self.older.set_enabled(len(rows) == PAGE)
        self.table.content = _table(rows) if rows else "No stored game is like that."


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        players = ", ".join(dict.fromkeys(map(str, json.loads(row["engines"]))))
        won = f"{sign(row['winner'])} {row['winner']}" if row["winner"] else "none"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["created"]))
        end = REASONS.get(row["reason"].removeprefix("early_"), row["reason"])
        link = f"<a href='/games/{row['id']}'>{row['id']}</a>"
        lines.append((link, row["config"], escape(players), won, end, str(row["plies"]), when))
    return table(("Game", "Config", "Players", "Winner", "End", "plies", "When"), lines)


class Replay:
    """One game, at a ply."""

    def __init__(self, record: Record, ply: int) -> None:
        self.record, self.plies = record, len(record.moves)
        self.game = record.replay()
        self.moves = self.game.moves
        seats = []
        probe = position_at(record, 0)
        for move in self.moves:
            seats.append(probe.to_move)
            probe.push(move)
        self.movers = seats
        with ui.row().classes("w-full gap-4 items-start"):
            with ui.column().classes("gap-2 grow").style("flex-basis: 20rem; min-width: 0"):
                self.status = ui.html().props('role="status" aria-live="polite"').classes("status w-full")
                with ui.row().classes("items-center w-full no-wrap gap-1"):
                    for words, text, to in (
                        ("First", "|◀", -self.plies),
                        ("Back", "◀", -1),
                        ("Next", "▶", 1),
                        ("Last", "▶|", self.plies),
                    ):
                        ui.button(text, on_click=lambda to=to: self.step(to)).props(
                            f'no-caps dense outline aria-label="{words}"'
                        ).classes("q-px-sm whitespace-nowrap")
                    self.slider = ui.slider(
                        min=0, max=self.plies, value=ply, on_change=lambda event: self.go(int(event.value))
                    )
                    self.slider.props('aria-label="Ply"').on("keydown", js_handler="(e) => e.stopPropagation()")
                self.board = board()
            with ui.column().classes("gap-3 grow").style("flex-basis: 17rem; max-width: 32rem; min-width: 0"):
                with ui.element("section").classes("panel").props('aria-label="Seats"'):
                    self.table = ui.html()
                    self.chances = ui.html().classes("q-mt-sm")
                self.chart = self._chart()
                self.link = ui.link("Play on from here").classes("text-base")
                with ui.element("section").classes("panel").props('aria-label="Moves"'):
                    self.log = ui.html()
        ui.keyboard(self.key, ignore=["input", "select", "textarea"])
        self.go(ply)

    def _chart(self) -> ui.echart | None:
        """Each seat's probability of winning along the game, as its searches saw it."""
        search = self.record.search
        if search is None or not len(search.ply):
            ui.html("No search values are stored with this game.").classes("soft text-sm")
            return None
        plies, grey = search.ply.tolist(), {"color": GREY}
        series: list[dict[str, Any]] = [
            {"type": "line", "name": f"seat {seat}", "color": colour, "symbolSize": 4,
             "data": [[ply, round(value, 4)] for ply, value in zip(plies, values, strict=True)]}
            for seat, (colour, values) in enumerate(zip(SEAT_COLOURS, search.root_value.T.tolist(), strict=False), 1)
        ]  # fmt: skip
        series[0]["markLine"] = {"symbol": "none", "label": {"show": False}, "animation": False, "data": []}
        options = {
            "textStyle": grey, "animation": False, "legend": {"top": 0, "textStyle": grey}, "series": series,
            "grid": {"left": 36, "right": 12, "top": 28, "bottom": 24}, "tooltip": {"trigger": "axis"},
            "xAxis": {"type": "value", "min": 0, "max": self.plies}, "yAxis": {"type": "value", "min": 0, "max": 1},
        }  # fmt: skip
        with ui.element("section").classes("panel").props('aria-label="Probability of winning along the game"'):
            chart = ui.echart(options, on_point_click=lambda event: self.slider.set_value(event.data[0]))
        return chart.classes("w-full").style("height: 11rem")

    def key(self, event: events.KeyEventArguments) -> None:
        """Arrow keys step through the game."""
        ways = {"ArrowLeft": -1, "ArrowRight": 1, "Home": -self.plies, "End": self.plies}
        if event.action.keydown and (by := ways.get(str(event.key.name))):
            self.step(by)

    def step(self, by: int) -> None:
        """So many plies on, or back."""
        self.slider.set_value(min(max(int(self.slider.value) + by, 0), self.plies))

    def go(self, ply: int) -> None:
        """Shows the position before a ply."""
        game = self.game = position_at(self.record, ply)
        last = frozenset(cells_told(self.moves[ply - 1].text)) if ply else frozenset()
        self.board.content = board_svg(game, Marks(last=last))
        said = self._told(ply - 1) if ply else "the start"
        outcome = game.outcome()
        end = f" – seat {outcome.winner} has won: {REASONS.get(outcome.reason, outcome.reason)}" if outcome else ""
        self.status.content = f"Ply {ply} of {self.plies}: {said}{end}"
        self.table.content = seat_table(game, self.record.players)
        self.chances.content = self._seen(ply)
        self.link.props(f'href="/?{urlencode({"position": game.text()})}"')
        first = max(0, ply - 6)
        self.log.content = listing(
            f"{'<b>' if i == ply - 1 else ''}{i + 1}. {self._told(i)}"
            for i in range(first, min(first + 13, self.plies))
        )
        if self.chart:
            self.chart.options["series"][0]["markLine"]["data"] = [{"xAxis": ply}]
            self.chart.update()
        ui.run_javascript(f"history.replaceState(null, '', '?ply={ply}')")

    def _told(self, ply: int) -> str:
        return ply_told(self.movers[ply], self.moves[ply].text)

    def _seen(self, ply: int) -> str:
        """What the search at this ply, or the last one before it, thought."""
        search = self.record.search
        found = int((search.ply <= ply).sum()) if search is not None else 0
        return chances(search.root_value[found - 1]) if search is not None and found else ""
