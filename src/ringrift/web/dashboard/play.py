"""The page where people and levels play."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Annotated
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import Query
from nicegui import ui

from ringrift.analysis import Analysis
from ringrift.errors import RingRiftError
from ringrift.players.ladder import LEVELS
from ringrift.rules import CONFIGS, Game, Move, Options
from ringrift.rules.render import Point
from ringrift.store import RunDirectory
from ringrift.web.dashboard.board import Marks, board_svg
from ringrift.web.dashboard.choices import EMPTY, Branch, Chooser, cells_told, told
from ringrift.web.dashboard.page import board, frame
from ringrift.web.dashboard.parts import chances, ended, listing, ply_told, seat_table, sign
from ringrift.web.dashboard.sitting import PERSON, Networks, Sitting, parse_seats

WHO = {PERSON: "person"} | {level: f"level {level}" for level in LEVELS}
BOARDS = {
    "square8": "Square, 8 × 8",
    "hex8": "Hexagon, 61 cells",
    "square19": "Square, 19 × 19",
    "hexagonal": "Hexagon, 469 cells",
}


def add(run: RunDirectory | None, pace: float) -> None:
    """Adds the page. `pace`: seconds between two plies of engines, so that one can follow."""
    networks = Networks(run)
    networks.evaluator("square8_2p")  # so that what evaluators need is there when the first visitor comes

    @ui.page("/")
    async def play(
        position: str = "",
        config: str = "square8_2p",
        seats: str = "",
        pie: bool = False,
        seed: Annotated[int | None, Query(ge=0)] = None,
    ) -> None:
        with frame("Play", "/"):
            page = Play(networks, pace, seed)
            ui.context.client.on_delete(lambda: page.leave())
            try:
                game = Game.parse(position) if position else Game(config, Options(swap_rule=pie))
                await page.begin(game, parse_seats(seats, game.num_seats))
            except RingRiftError as error:
                page.refuse(error)
                await page.begin(Game("square8_2p"), parse_seats("", 2))


class Play:
    """One visitor's game."""

    sitting: Sitting
    chooser: Chooser

    def __init__(self, networks: Networks, pace: float, seed: int | None = None) -> None:
        """`seed`: of the engines' choices; none: another one for each game."""
        self.seed = seed
        self.networks = networks
        self.leave: Callable[[], None] = lambda: None
        """Ends the engines' thinking."""
        self.paused = False
        self.judged = -1
        """Version of the sitting that the probabilities are of."""
        self.advice: Analysis | None = None
        self.owners: dict[Point, tuple[int, float]] | None = None
        with ui.row().classes("w-full gap-4 items-start"):
            with ui.column().classes("gap-2 wide"):
                self.status = ui.html().props('role="status" aria-live="polite"').classes("w-full text-base status")
                self.choices = ui.row().classes("w-full gap-2 choices").props('role="group" aria-label="Choices"')
                self.board = board(self.clicked)
            with ui.column().classes("gap-3 side-panel"):
                self._panel()
        ui.timer(pace, self.advance)

    def _panel(self) -> None:
        with ui.row().classes("gap-2"):
            ui.button("New game", on_click=self.ask_new).props("no-caps")
            self.back = ui.button("Take back", on_click=self.take_back).props("no-caps outline")
            self.hint = ui.button("Hint", on_click=self.ask_hint).props("no-caps outline")
            self.pause = ui.button("Pause", on_click=self.toggle_pause).props("no-caps outline")
        with ui.element("section").classes("panel").props('aria-label="Seats"'):
            self.table = ui.html()
            ui.html("Probability of winning", tag="div").classes("q-mt-sm soft text-sm")
            self.chances = ui.html().classes("chances-box")
            self.source = ui.html().classes("soft text-xs")
        self.overlay = ui.switch("Show whose territory it will be", on_change=self.ask_owners)
        with ui.element("section").classes("panel").props('aria-label="Hints"') as self.hints:
            self.hint_list = ui.column().classes("gap-1 w-full")
        self.hints.set_visibility(False)
        with ui.element("details").classes("panel"):
            ui.html("Share or set up a position", tag="summary")
            self.text = ui.input("Position as text").props("readonly dense").classes("w-full")
            with ui.row():
                ui.button("Copy text", on_click=lambda: self.copy(self.text.value)).props("no-caps flat dense")
                ui.button("Copy link", on_click=self.copy_link).props("no-caps flat dense")
            given = ui.input("Text of a position").props("dense").classes("w-full")
            ui.button("Set up", on_click=lambda: self.set_up(given.value)).props("no-caps flat dense")
        with (
            ui.element("section")
            .classes("panel")
            .props('aria-label="What was played" tabindex="0"')
            .style("max-height: 40vh; overflow: auto")
        ):
            self.log = ui.html()

    # -- a new game --------------------------------------------------------------------------------------------------

    async def begin(self, game: Game, seats: Sequence[int]) -> None:
        """Begins with a position."""
        self.leave()
        seed = secrets.randbits(32) if self.seed is None else self.seed
        self.sitting = Sitting(game, tuple(seats), self.networks, seed)
        self.leave = self.sitting.leave
        self.paused = False
        self.changed()

    def refuse(self, error: RingRiftError) -> None:
        """Says what was wrong."""
        ui.notify(str(error), type="negative", multi_line=True, timeout=8000)

    def ask_new(self) -> None:
        """The dialog for a new game."""
        names, seats = {str(key): value for key, value in WHO.items()}, [str(seat) for seat in self.sitting.seats]
        with ui.dialog(value=True) as dialog, ui.card().classes("w-80").props('role="dialog" aria-label="New game"'):
            ui.html("<h2 class='text-lg m-0'>New game</h2>")
            of, many = self.sitting.game.config.rsplit("_", 1)
            where = ui.select(BOARDS, value=of, label="Board").classes("w-full")
            count = ui.select([2, 3, 4], value=int(many[0]), label="How many seats").classes("w-full")

            @ui.refreshable
            def who() -> None:
                seats.extend(["3"] * (4 - len(seats)))
                for seat in range(count.value):
                    box = ui.select(names, value=seats[seat], label=f"Seat {seat + 1}").classes("w-full")
                    box.on_value_change(lambda event, seat=seat: seats.__setitem__(seat, event.value))
                pie.set_visibility(count.value == 2)

            pie = ui.checkbox("Pie rule: seat 2 may change places")
            who()
            count.on_value_change(who.refresh)

            async def start() -> None:
                dialog.close()
                game = Game(f"{where.value}_{count.value}p", Options(swap_rule=pie.value and count.value == 2))
                await self.begin(game, [int(seat) for seat in seats[: count.value]])

            with ui.row().classes("w-full justify-end"):
                ui.button("Cancel", on_click=dialog.close).props("no-caps flat")
                ui.button("Start", on_click=start).props("no-caps")

    async def set_up(self, text: str) -> None:
        """Goes on from a position's text."""
        try:
            game = Game.parse(text.strip())
        except RingRiftError as error:
            self.refuse(error)
            return
        seats = self.sitting.seats if len(self.sitting.seats) == game.num_seats else parse_seats("", game.num_seats)
        await self.begin(game, seats)

    def query(self) -> str:
        """The position and the seats, for an address."""
        seats = ",".join("p" if seat == PERSON else str(seat) for seat in self.sitting.seats)
        return "/?" + urlencode({"position": self.sitting.game.text(), "seats": seats})

    def copy(self, text: str) -> None:
        """To the clipboard."""
        ui.clipboard.write(text)
        ui.notify("Copied")

    def copy_link(self) -> None:
        """The address of the position, to the clipboard."""
        ui.run_javascript(f"navigator.clipboard.writeText(location.origin + {self.query()!r})")
        ui.notify("Copied")

    # -- playing -----------------------------------------------------------------------------------------------------

    def clicked(self, cell: Point) -> None:
        """A person has clicked a cell."""
        if self.sitting.waits_for_person:
            self._chosen(self.chooser.click(cell))

    def pressed(self, branch: Branch) -> None:
        """A person has pressed a button."""
        move = branch.moves[0] if branch in self.chooser.plain else self.chooser.choose(branch)
        self._chosen(move)

    def _chosen(self, move: Move | None) -> None:
        if move is None:
            self.draw()
        else:
            self.sitting.push(move)
            self.changed()

    def cancel(self) -> None:
        """A person gives up what was chosen."""
        self.chooser.cancel()
        self.draw()

    def take_back(self) -> None:
        """Takes the last decision of a person back."""
        if self.sitting.take_back():
            self.changed()

    def toggle_pause(self) -> None:
        """Stops the engines, or lets them go on."""
        self.paused = not self.paused
        self.draw()

    async def advance(self) -> None:
        """The next ply of an engine, or what is thought of the position; called again and again."""
        sitting, version = self.sitting, self.sitting.version
        if self.judged != version:
            values = await to_thread.run_sync(self.networks.values, sitting.game.copy())
            if self.sitting is sitting and sitting.version == version:
                self.judged = version
                self.chances.content = chances(values)
            if self.overlay.value:
                await self.ask_owners()
            return
        if sitting.game.is_over or sitting.waits_for_person or self.paused:
            return
        try:
            decision = await to_thread.run_sync(sitting.decide, sitting.game.copy())
        except RingRiftError as error:  # a network that cannot be read, say
            if self.sitting is sitting and sitting.version == version:
                self.refuse(error)
                self.toggle_pause()
            return
        if self.sitting is sitting and sitting.version == version and not self.paused:
            sitting.push(decision.move)
            self.changed()

    # -- advice ------------------------------------------------------------------------------------------------------

    async def ask_hint(self) -> None:
        """Shows the best moves."""
        sitting, version = self.sitting, self.sitting.version
        self.hint.props("loading")
        try:
            advice = await to_thread.run_sync(self.networks.hints, sitting.game.copy())
        except RingRiftError as error:
            self.refuse(error)
            return
        finally:
            self.hint.props(remove="loading")
        if self.sitting is sitting and sitting.version == version:
            self.advice = advice
            self.draw()

    async def ask_owners(self) -> None:
        """Shows whose territory each cell will be, or no longer."""
        sitting, version, wanted = self.sitting, self.sitting.version, self.overlay.value
        owners = await to_thread.run_sync(self.networks.owners, sitting.game.copy()) if wanted else None
        if wanted and owners is None:
            self.overlay.value = False
            ui.notify(f"No network of {sitting.game.config} that foresees territory is here", type="warning")
        if self.sitting is sitting and sitting.version == version:
            self.owners = owners
            self.draw()

    # -- showing -----------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """The position is another one."""
        self.chooser, self.advice, self.owners = Chooser(self.sitting.game), None, None
        self.draw()
        sitting, name = self.sitting, self.networks.evaluator(self.sitting.game.config)[0]
        self.text.value = sitting.game.text()
        missing = f"the hand-written evaluation: no network of {sitting.game.config} is here that can be read"
        self.source.content = f"by {name or missing}"
        self.table.content = seat_table(sitting.game, sitting.names)
        plies = [ply_told(seat, move.text) for seat, move in reversed(sitting.played) if move.text not in EMPTY]
        self.log.content = listing(plies)
        ui.run_javascript(f"history.replaceState(null, '', {self.query()!r})")

    def draw(self) -> None:
        """The board, what is asked for, and the buttons."""
        sitting, game, chooser = self.sitting, self.sitting.game, self.chooser
        mine = sitting.waits_for_person
        ahead = chooser.next if mine else []
        cells = frozenset(cell for branch in ahead for cell in branch.step.cells)
        ends = frozenset(cell for branch in ahead for cell in branch.step.cells if not branch.below or chooser.taken)
        moves = self.advice.moves if self.advice else ()
        arrows = [
            (*_ends(one.move.text), str(rank)) for rank, one in enumerate(moves, 1) if any(cells_told(one.move.text))
        ]
        last = [move.text for move in sitting.last]
        marks = Marks(
            sources=cells - ends, targets=ends,
            chosen=frozenset(cell for branch in chooser.taken for cell in branch.step.cells) if mine else frozenset(),
            last=frozenset(cell for text in last if text[0] not in "LOT" for cell in cells_told(text)),
            owners=self.owners or {}, arrows=arrows,
        )  # fmt: skip
        self.board.content = board_svg(game, marks)
        self.status.content = self._status()
        self.choices.clear()
        with self.choices:
            for branch in ahead:
                if branch.step.words:
                    self._button(branch)
            if mine and chooser.begun:
                ui.button("Cancel", on_click=self.cancel).props("no-caps flat dense").classes("cancel")
        self.back.set_enabled(any(seat == PERSON for seat in sitting.seats))
        self.pause.set_text("Go on" if self.paused else "Pause")
        self.pause.set_visibility(any(seat != PERSON for seat in sitting.seats))
        self.hint.set_enabled(not game.is_over)
        self._draw_hints()

    def _button(self, branch: Branch) -> None:
        lit = [f"{x},{y}" for x, y in cells_told(branch.step.key)] or [f"{x},{y}" for x, y in branch.step.cells]
        button = (
            ui.button(branch.step.words, on_click=lambda: self.pressed(branch))
            .props("no-caps dense")
            .classes("q-px-sm")
        )
        for kind, cells in (("mouseenter", lit), ("focus", lit), ("mouseleave", []), ("blur", [])):
            button.on(kind, js_handler=f"() => ringrift.light({cells})")

    def _status(self) -> str:
        game, sitting = self.sitting.game, self.sitting
        if outcome := game.outcome():
            return ended(outcome)
        who = f"{sign(game.to_move)} <strong>Seat {game.to_move}</strong> ({WHO[sitting.seats[game.to_move - 1]]})"
        if not sitting.waits_for_person:
            return f"{who} {'waits' if self.paused else 'thinks …'}"
        return f"{who}: {self.chooser.prompt or game.phase.name.lower().replace('_', ' ')}"

    def _draw_hints(self) -> None:
        self.hint_list.clear()
        self.hints.set_visibility(self.advice is not None)
        if self.advice is None:
            return
        mover = self.advice.game.to_move - 1
        with self.hint_list:
            ui.html(
                f"Best moves by {self.advice.simulations} simulations, and the mover's probability of winning"
            ).classes("soft text-xs")
            for rank, one in enumerate(self.advice.moves, 1):
                ui.html(f"{rank}. {float(one.value_by_seat[mover]):.0%} {told(one.move.text)} <code>{one.move}</code>")


def _ends(text: str) -> tuple[Point, Point]:
    """Where a move begins and ends on the board; the stack that pays for a slide is left out."""
    cells = list(cells_told(text.partition("@")[0].partition(":")[0]))
    return (cells[0], cells[-1]) if text[0] in "MCKR" else (cells[0], cells[0])


assert {*BOARDS} == {config.rsplit("_", 1)[0] for config in CONFIGS}
