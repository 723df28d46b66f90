"""The board as SVG for the page: each cell can be clicked and focused, and says what lies on it.

A seat has a colour that colour-blind people can tell from the others, and a sign: circle, triangle, square, diamond. A
stack is a tower of its rings; on its top stand the sign of the seat that controls it, and its height, or `cap/height`.
Colours and sizes of lines are in `page.css`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby

from ringrift.rules import Game
from ringrift.rules.render import Board, Point, coordinates, hex_place, outline, square_place

RX, RY = 0.42, 0.24  #: of a ring seen from above, in cells
SIGNS = (
    '<circle r=".5"/>',
    '<path d="M0-.56L.56.44H-.56Z"/>',
    '<path d="M-.46-.46H.46V.46H-.46Z"/>',
    '<path d="M0-.6L.6 0 0 .6-.6 0Z"/>',
)
#: Hatching of a seat's territory.
HATCHES = (
    '<path d="M0 .1H.2"/>',
    '<path d="M-.05-.05L.25.25M.15-.05L.25.05M-.05.15L.05.25"/>',
    '<path d="M.1 0V.2"/>',
    '<path d="M-.05.25L.25-.05M-.05.05L.05-.05M.15.25L.25.15"/>',
)


@dataclass(frozen=True)
class Marks:
    """What is shown on a board beside its position."""

    sources: frozenset[Point] = frozenset()
    """cells that may be chosen"""
    targets: frozenset[Point] = frozenset()
    """cells that finish what is begun"""
    chosen: frozenset[Point] = frozenset()
    last: frozenset[Point] = frozenset()
    """cells of what was played last"""
    owners: Mapping[Point, tuple[int, float]] = field(default_factory=dict)
    """whose territory a cell will be, and how probably"""
    arrows: Sequence[tuple[Point, Point, str]] = ()
    """from, to, label; both the same for a move on one cell"""


def board_svg(game: Game, marks: Marks = Marks()) -> str:
    """The position with its marks."""
    board = Board.of(game)
    place = hex_place if board.info.is_hex else square_place
    at = {cell: place(cell) for cell in board.cells}
    left, right = min(x for x, _ in at.values()) - 1.0, max(x for x, _ in at.values()) + 0.6
    top, bottom = min(y for _, y in at.values()) - 0.95, max(y for _, y in at.values()) + 0.6
    if board.info.is_hex:
        right, bottom = right + 0.3, bottom + 0.55
    ground = outline(board.info, (0, 0), 'id="ground"')
    patterns = "".join(
        f'<pattern id="hatch{seat}" class="s{seat}" width=".2" height=".2" patternUnits="userSpaceOnUse">{lines}'
        f'</pattern><g id="sign{seat}">{sign}</g>'
        for seat, (lines, sign) in enumerate(zip(HATCHES, SIGNS, strict=True), 1)
    )
    live = marks.sources | marks.targets
    first = min(live or board.cells, key=lambda cell: (at[cell][1], at[cell][0]))
    free = " free" if len(marks.sources) > len(board.cells) / 3 else ""
    box = f"{left:.2f} {top:.2f} {right - left:.2f} {bottom - top:.2f}"
    out = [
        f'<svg class="board{free}" viewBox="{box}" role="group" aria-label="Board {board.info.board}">',
        f"<defs>{ground}{patterns}</defs>",
        '<g class="axes" aria-hidden="true">',
        *coordinates(board.info, at),
        "</g>",
    ]
    out += [_cell(board, cell, at[cell], marks, cell in live, cell == first) for cell in board.cells]
    out += [_arrow(at[start], at[end], label) for start, end, label in marks.arrows]
    return "".join([*out, "</svg>"])


def said(board: Board, cell: Point) -> str:
    """What lies on a cell, in words."""
    if rings := board.stacks.get(cell):
        height, cap = len(rings), cap_of(rings)
        below = f", cap {cap}, below it {' '.join(reversed(rings[: height - cap]))}" if cap < height else ""
        return f"stack of {height}, seat {rings[-1]} on top{below}"
    if seat := board.markers.get(cell):
        return f"marker of seat {seat}"
    return f"territory of seat {seat}" if (seat := board.collapsed.get(cell)) else "empty"


def cap_of(rings: str) -> int:
    """How many of the top rings have the colour of the topmost."""
    return len(rings) - len(rings.rstrip(rings[-1]))


def _cell(board: Board, cell: Point, at: tuple[float, float], marks: Marks, live: bool, first: bool) -> str:
    marked = [name for name in ("sources", "targets", "chosen", "last") if cell in getattr(marks, name)]
    inner = ['<use class="ground" href="#ground"/>']
    if seat := board.collapsed.get(cell):
        inner.append(
            f'<use class="taken s{seat}" href="#ground"/><use class="hatch" href="#ground" fill="url(#hatch{seat})"/>'
        )
        inner.append(_sign(seat, 0.26, "faint"))
    elif cell in marks.owners:
        seat, share = marks.owners[cell]
        inner.append(f'<use class="owner s{seat}" href="#ground" fill-opacity="{share * 0.75:.2f}"/>')
    if rings := board.stacks.get(cell):
        inner.append(_stack(rings))
    elif seat := board.markers.get(cell):
        inner.append(_sign(seat, 0.42, "marker"))
    if marked:
        inner.append('<use class="edge" href="#ground"/>')
    if cell in marks.targets:
        inner.append(f'<circle class="dot" {"cy" if rings else "cx"}="{".36" if rings else "0"}" r=".11"/>')
    x, y = cell
    role, words = ("button", ": may be chosen") if live else ("img", "")
    return (
        f'<g class="{" ".join(["cell", *marked])}" data-cell="{x},{y}" role="{role}" tabindex="{0 if first else -1}"'
        f' transform="translate({at[0]:.3f} {at[1]:.3f})"><title>{x},{y}: {said(board, cell)}{words}</title>'
        f"{''.join(inner)}</g>"
    )


def _sign(seat: int, size: float, name: str, at: str = "") -> str:
    return f'<use class="{name} s{seat}" href="#sign{seat}" transform="{at}scale({size})"/>'


def _stack(rings: str) -> str:
    """A tower seen from slightly above: a band for each ring, the number and the sign on the face of the topmost."""
    thick = min(0.12, 0.4 / len(rings))
    depth = thick * len(rings)
    low, out = depth / 2 + 0.01, []
    for colour, run in groupby(rings):
        high = low - thick * len(list(run))
        side = f"M{-RX} {low:.3f}A{RX} {RY} 0 0 0 {RX} {low:.3f}V{high:.3f}H{-RX}Z"
        out.append(f'<path class="side s{colour}" d="{side}"/>')
        low = high
    edges = "".join(
        f"M{-RX} {low + i * thick:.3f}A{RX} {RY} 0 0 0 {RX} {low + i * thick:.3f}" for i in range(1, len(rings))
    )
    seat, height, cap = rings[-1], len(rings), cap_of(rings)
    out.append(f'<path class="seam" d="{edges}"/><ellipse class="face s{seat}" cy="{low:.3f}" rx="{RX}" ry="{RY}"/>')
    if height == 1:
        return "".join([*out, _sign(int(seat), 0.2, "on", f"translate(0 {low:.3f})")])
    text = str(height) if cap == height else f"{cap}/{height}"
    size = 0.34 if len(text) < 3 else 0.26
    wide = size * (0.7 * len(text) - 0.35 * ("/" in text))
    out.append(_sign(int(seat), 0.14, "on", f"translate({-wide / 2 - 0.02:.3f} {low:.3f})"))
    out.append(f'<text class="count s{seat}" x=".09" y="{low + size * 0.37:.3f}" font-size="{size}">{text}</text>')
    return "".join(out)


def _arrow(start: tuple[float, float], end: tuple[float, float], label: str) -> str:
    """An arrow, or a ring around a single cell, with a label on its end."""
    (x0, y0), (x1, y1) = start, end
    text = f'<text x="{x1:.3f}" y="{y1 - 0.31:.3f}">{escape(label)}</text>'
    if start == end:
        return f'<g class="arrow" aria-hidden="true"><circle cx="{x1:.3f}" cy="{y1:.3f}" r=".42"/>{text}</g>'
    length = math.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    x0, y0, bx, by = x0 + 0.45 * ux, y0 + 0.45 * uy, x1 - 0.3 * ux, y1 - 0.3 * uy
    head = f"{x1:.3f},{y1:.3f} {bx - 0.17 * uy:.3f},{by + 0.17 * ux:.3f} {bx + 0.17 * uy:.3f},{by - 0.17 * ux:.3f}"
    return (
        f'<g class="arrow" aria-hidden="true"><line x1="{x0:.3f}" y1="{y0:.3f}" x2="{bx:.3f}" y2="{by:.3f}"/>'
        f'<polygon points="{head}"/>{text}</g>'
    )
