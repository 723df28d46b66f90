"""The pages of the stored games: a list with filters, and one game step by step."""

from __future__ import annotations

import time
from dataclasses import replace
from html import escape
from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from nicegui import events, ui

from ringrift.analysis import position_at
from ringrift.errors import RingRiftError
from ringrift.rules import CONFIGS, Record
from ringrift.rules.record import EARLY
from ringrift.store import GameStore, RunDirectory
from ringrift.store.browse import COUNTED, Seen, Wanted, browse
from ringrift.web.dashboard.board import Marks, board_svg
from ringrift.web.dashboard.choices import EMPTY, cells_told
from ringrift.web.dashboard.page import NO_RUN, board, frame
from ringrift.web.dashboard.parts import REASONS, chances, listing, ply_told, seat_table, sign, table

PAGE = 50
COLUMNS = ("Game", "Config", "Players", "Winner", "End", "plies", "When")
SEAT_COLOURS, GREY = ("#0072b2", "#e69f00", "#009e73", "#cc79a7"), "#7d776b"


def add(run: RunDirectory | None) -> None:
    """Adds the pages."""

    @ui.page("/games")
    async def games() -> None:
        with frame("Stored games", "/games"):
            if run is None:
                ui.html(NO_RUN)
            else:
                await Games(run).show()

    @ui.page("/games/{name}")
    async def game(name: str, ply: int = 0) -> None:
        with frame("A stored game", "/games"):
            if run is None:
                ui.html(NO_RUN)
                return
            try:
                record = await to_thread.run_sync(lambda: GameStore(run).find(name).read())
                Replay(record, min(max(ply, 0), len(record.moves)))
            except RingRiftError as error:
                ui.html(escape(str(error)))


class Games:
    """The list of a visitor."""

    def __init__(self, run: RunDirectory) -> None:
        self.run, self.configs = run, list[str]()
        self.wanted, self.offset = Wanted(CONFIGS), 0

    async def show(self) -> None:
        """Filters and list."""
        configs = [row.config for row in await to_thread.run_sync(GameStore(self.run).counts)]
        with ui.row().classes("items-end gap-3"):
            self._select("configs", "Config", {CONFIGS: "any", **{(name,): name for name in configs}})
            self._select("winner", "Winner", {None: "any", **{seat: f"seat {seat}" for seat in range(1, 5)}})
            self._select("reason", "End", {None: "any", **REASONS})
            player = ui.input("Player", on_change=lambda event: self.want(player=event.value or None))
            player.props("dense debounce=300").classes("w-32")
            least = ui.number("Plies, at least", min=0, on_change=lambda event: self.want(min_plies=event.value))
            least.props("dense").classes("w-32")
        self.count = ui.html().classes("soft text-sm")
        self.table = ui.html().classes("w-full overflow-x-auto").props('tabindex="0" role="region" aria-label="Games"')
        with ui.row():
            self.newer = ui.button("Newer", on_click=lambda: self.page(self.offset - PAGE)).props("no-caps outline")
            self.older = ui.button("Older", on_click=lambda: self.page(self.offset + PAGE)).props("no-caps outline")
        await self.page(0)

    def _select(self, name: str, label: str, options: dict[Any, str]) -> None:
        chosen = ui.select(list(options.values()), value="any", label=label).props("dense").classes("w-40")
        by_words = {words: value for value, words in options.items()}
        chosen.on_value_change(lambda event: self.want(**{name: by_words[event.value]}))

    async def want(self, **filters: Any) -> None:
        """Changes a filter."""
        self.wanted = replace(self.wanted, **filters)
        await self.page(0)

    async def page(self, offset: int) -> None:
        """Shows the games from that one on, the newest being 0."""
        wanted = self.wanted
        games, total = await to_thread.run_sync(browse, self.run, wanted, PAGE, offset)
        if wanted is not self.wanted:  # another filter since then, whose games are on their way
            return
        self.offset = offset
        self.newer.set_enabled(offset > 0)
        self.older.set_enabled(offset + PAGE < total)
        many = f"{total:,}" if total < COUNTED else f"More than {total:,}"
        self.count.content = f"{many} games" if total != 1 else "1 game"
        self.table.content = table(COLUMNS, map(_row, games))


def _row(game: Seen) -> tuple[str, ...]:
    players = ", ".join(dict.fromkeys(map(escape, game.engines)))
    won = f"{sign(game.winner)} {game.winner}" if game.winner else "none"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(game.created))
    end = REASONS.get(game.reason.removeprefix(EARLY), game.reason)
    link = f"<a href='/games/{game.id}'>{game.id}</a>"
    return link, game.config, players, won, end, str(game.plies), when


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
            with ui.column().classes("gap-2 wide"):
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
            with ui.column().classes("gap-3 side-panel"):
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
        done = [move.text for move in self.moves[:ply] if move.text not in EMPTY]
        last = frozenset(cells_told(done[-1])) if done else frozenset()
        self.board.content = board_svg(game, Marks(last=last))
        said = self._told(ply - 1) if ply else "the start"
        outcome = game.outcome()
        end = f" – seat {outcome.winner} has won: {REASONS.get(outcome.reason, outcome.reason)}" if outcome else ""
        self.status.content = f"Ply {ply} of {self.plies}: {said}{end}"
        self.table.content = seat_table(game, self.record.players)
        self.chances.content = self._seen(ply)
        self.link.props(f'href="/?{urlencode({"position": game.text()})}"')
        near = range(max(0, ply - 7), min(ply + 6, self.plies))
        lines = (f"{i + 1}. {self._told(i)}" for i in near)
        self.log.content = listing(
            f"<b>{line}</b>" if i == ply - 1 else line for i, line in zip(near, lines, strict=True)
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
