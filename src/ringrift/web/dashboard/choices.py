"""Moves as a person makes them: clicks on cells and buttons with words. Follows the playable list; no rule is here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ringrift.rules import Game, Move
from ringrift.rules.render import CELL, Point, point
from ringrift.wire.moves import PLAIN

#: Buttons of the moves without a cell.
PLAIN_WORDS = {
    "SP": "Skip the placement",
    "NP": "No placement is possible: go on",
    "SW": "Change places with seat 1",
    "SC": "Decline the capture",
    "NM": "Nothing can move: go on",
    "SR": "Skip the recovery",
    "NL": "No line: go on",
    "ST": "Take no region",
    "NT": "No region: go on",
}
PLAIN_TOLD = {
    "SP": "skips the placement", "NP": "places nothing", "SW": "changes places", "SC": "declines the capture",
    "NM": "moves nothing", "SR": "skips the recovery", "NL": "has no line", "ST": "takes no region",
    "NT": "has no region",
}  # fmt: skip
#: What is played for a person where nothing else is possible.
EMPTY = frozenset(("NP", "NM", "NL", "NT"))
assert PLAIN_WORDS.keys() == PLAIN_TOLD.keys() == set(PLAIN.values())
#: What is asked for, by the letter of a move and the number of the step.
PROMPTS = {
    "P": ("Place rings: choose a cell", "How many rings?"),
    "M": ("Choose the stack that moves", "Choose where it goes"),
    "C": ("Choose the stack that moves", "Choose where it goes"),
    "K": ("", "The capture goes on: choose where it lands"),
    "R": (
        "Choose the marker that slides",
        "Choose where it slides",
        "Choose what it does",
        "Choose the stack that pays",
    ),
    "L": ("Choose a line to collapse",),
    "O": ("Choose a line to collapse", "Choose how much of it collapses"),
    "T": ("Choose a region to take",),
    "E": ("Choose the stack that pays",),
    "F": ("Forced elimination: choose the stack that loses its cap",),
}
_PARTS = re.compile(r"\[([^]]*)\]")


@dataclass(frozen=True)
class Step:
    """One choice on the way to a move."""

    key: str
    """tells it from the other choices there"""
    cells: tuple[Point, ...] = ()
    """a click on any of them makes the choice"""
    words: str = ""
    """on its button; empty: it has none"""


@dataclass(frozen=True)
class Branch:
    """A choice, and what it leads to: further choices, or a move."""

    step: Step
    below: dict[str, Branch] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)


def _cell(text: str) -> Step:
    return Step(text, (point(text),))


def _span(cells: str) -> tuple[tuple[Point, ...], str]:
    """The cells of a list, and its first and last one as words."""
    found = cells.split()
    return tuple(map(point, found)), found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def steps_of(text: str) -> list[Step]:
    """The choices that make a move."""
    if text in PLAIN_WORDS:
        return [Step(text, words=PLAIN_WORDS[text])]
    kind, cells = text[0], CELL.findall(text)
    match kind:
        case "P":
            rings = text.partition("*")[2]
            return [_cell(cells[0]), Step(rings, words="1 ring" if rings == "1" else f"{rings} rings")]
        case "M":
            return [_cell(cells[0]), _cell(cells[1])]
        case "C" | "K":
            return [_cell(cells[0]), _cell(cells[2])]
        case "R":
            return _slide(text, cells)
        case "L" | "O" | "T":
            first, *rest = _PARTS.findall(text)
            taken, where = _span(first)
            name = f"Region of {len(taken)} cell{'s'[: len(taken) > 1]}" if kind == "T" else f"Line of {len(taken)}"
            steps = [Step(first, taken, f"{name}: {where}")]
            if rest:
                part, where = _span(rest[0])
                steps.append(Step(rest[0], part[:1], f"Collapse {len(part)}, {where}: free"))
            elif kind == "O":
                steps.append(Step("A", words=f"Collapse all {len(taken)}: costs a ring"))
            return steps
        case _:  # E and F
            return [_cell(cells[0])]


def _slide(text: str, cells: list[str]) -> list[Step]:
    head, _, payer = text.partition("@")
    option = head.partition(":")[2]
    words = {"L1": "Collapse the line: costs a ring", "F": "Slide: costs a ring", "S": "Strike the stack: costs a ring"}
    part = _span(option[3:-1])[1] if option.startswith("L2") else ""
    steps = [_cell(cells[0]), _cell(cells[1]), Step(option, words=words.get(option, f"Collapse {part}: free"))]
    return [*steps, _cell(payer)] if payer else steps


class Chooser:
    """A person's way to a move of one position: at each point the next choices, until they make a move."""

    def __init__(self, game: Game) -> None:
        self.root: dict[str, Branch] = {}
        self.plain: list[Branch] = []
        for move in game.playable_moves():
            steps = steps_of(move.text)
            if move.text in PLAIN_WORDS:
                self.plain.append(Branch(steps[0], moves=[move]))
                continue
            level = self.root
            for step in steps:
                branch = level.setdefault(step.key, Branch(step))
                branch.moves.append(move)
                level = branch.below
        sources = list(self.root.values())
        moving = len(sources) == 1 and sources[0].moves[0].text[0] in "MCK"
        self.base = sources if moving else []
        """What is chosen from the beginning: the one stack that may move."""
        self.taken = list(self.base)
        self._at: Point | None = None

    @property
    def next(self) -> list[Branch]:
        """The choices now; where a click was on several of them, these alone."""
        found = list((self.taken[-1].below if self.taken else self.root).values())
        if self._at is not None:
            return [branch for branch in found if self._at in branch.step.cells]
        return found + (self.plain if self.taken == self.base else [])

    @property
    def begun(self) -> bool:
        """Whether something is chosen that can be given up."""
        return self.taken != self.base or self._at is not None

    @property
    def prompt(self) -> str:
        """What is asked for."""
        asked: dict[str, None] = {}
        for branch in self.next:
            if branch not in self.plain:
                said = PROMPTS[branch.moves[0].text[0]]
                asked[said[min(len(self.taken), len(said) - 1)]] = None
        return "; or: ".join(asked)

    def cancel(self) -> None:
        """Gives up what was chosen."""
        self.taken, self._at = list(self.base), None

    def choose(self, branch: Branch) -> Move | None:
        """Makes one of the next choices, and those after it that leave none; the move where that makes one."""
        self._at = None
        while True:
            self.taken.append(branch)
            if not branch.below:
                return branch.moves[0]
            if len(branch.below) > 1:
                return None
            (branch,) = branch.below.values()

    def click(self, cell: Point) -> Move | None:
        """A click on a cell; elsewhere than on a choice it gives up what was chosen, and may begin anew."""
        found = [branch for branch in self.next if cell in branch.step.cells]
        if not found and self.begun:
            again = any(cell in branch.step.cells for branch in self.taken)
            self.cancel()
            found = [] if again else [branch for branch in self.next if cell in branch.step.cells]
        if len(found) > 1:
            self._at = cell
            return None
        return self.choose(found[0]) if found else None


def told(text: str) -> str:
    """A move in words."""
    if text in PLAIN_TOLD:
        return PLAIN_TOLD[text]
    cells = CELL.findall(text)
    match text[0]:
        case "P":
            rings = text.partition("*")[2]
            return f"places {rings} ring{'s'[: rings != '1']} on {cells[0]}"
        case "M":
            return f"moves from {cells[0]} to {cells[1]}"
        case "C":
            return f"captures from {cells[0]} over {cells[1]} to {cells[2]}"
        case "K":
            return f"goes on over {cells[1]} to {cells[2]}"
        case "R":
            option = text.partition(":")[2]
            what = {"L": "makes a line", "F": "slides", "S": "strikes a stack"}[option[0]]
            return f"recovers from {cells[0]} to {cells[1]}: {what}"
        case "L" | "O" | "T" as kind:
            parts = _PARTS.findall(text)
            many = len(parts[-1].split())
            return (
                f"takes a region of {many} cell{'s'[: many > 1]}" if kind == "T" else f"collapses a line: {many} cells"
            )
        case "E":
            why = {"l": "the line", "t": "the region", "r": "the region, from below"}[text[-1]]
            return f"pays for {why} at {cells[0]}"
        case _:
            return f"is forced to give up the cap on {cells[0]}"


def cells_told(text: str) -> Iterator[Point]:
    """The cells that a move names."""
    return map(point, CELL.findall(text))
