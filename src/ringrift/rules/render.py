"""Boards drawn: as text for terminals, as SVG for notebooks and pages. Only shows; the positions come from the core."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from ringrift.errors import RulesError
from ringrift.rules.config import ConfigInfo, config_info

if TYPE_CHECKING:  # a game draws itself by these
    from ringrift.rules.game import Game

Point = tuple[int, int]
CELL = re.compile(r"-?\d+,-?\d+")
#: Colour of each seat: rings and arrows, a tint for its territory, the ANSI code in a terminal.
INKS = ("#2b62c4", "#d2462c", "#2c8f57", "#d9a018")
TINTS = ("#a9c1ec", "#efb4a6", "#a8d8bb", "#f0d898")
ANSI = ("94", "91", "92", "93")


def point(cell: str) -> Point:
    """`3,-4` → (3, -4)."""
    x, y = cell.split(",")
    return int(x), int(y)


@dataclass
class Board:
    """What lies on the cells of a position."""

    info: ConfigInfo
    cells: list[Point]
    stacks: dict[Point, str] = field(default_factory=dict)
    """seats of the rings, from bottom to top"""
    markers: dict[Point, int] = field(default_factory=dict)
    collapsed: dict[Point, int] = field(default_factory=dict)

    @classmethod
    def of(cls, game: Game) -> Board:
        """The board of a game."""
        info = config_info(game.config)
        board = cls(info, list(cells_of(info)))
        stacks, markers, collapsed = (dict(e.split(":") for e in f.split()) for f in game.canonical().split(";")[7:10])
        board.stacks = {point(cell): rings for cell, rings in stacks.items()}
        board.markers = {point(cell): int(seat) for cell, seat in markers.items()}
        board.collapsed = {point(cell): int(seat) for cell, seat in collapsed.items()}
        return board


def cells_of(info: ConfigInfo) -> Iterator[Point]:
    """The cells of a board, by x, then y."""
    r = info.width // 2 if info.is_hex else 0
    for x in range(-r, info.height - r):
        for y in range(-r, info.width - r):
            if not info.is_hex or abs(x + y) <= r:
                yield x, y


def ascii_board(game: Game, colour: bool = False) -> str:
    """The position as text: x runs to the right, y downwards.

    `2:5` is a stack of 5 rings that seat 2 controls (`2:5c3`: only its top 3 are of that colour), `+1` a marker of seat
    1, `#1` its territory. On the large boards the cap is left out.
    """
    board = Board.of(game)
    info, large = board.info, board.info.cells > 100
    wide = 5 if large else 6

    def drawn(cell: Point) -> str:
        text, seat = ".", 0
        if rings := board.stacks.get(cell):
            seat, height = int(rings[-1]), len(rings)
            cap = height - len(rings.rstrip(rings[-1]))
            text = f"{seat}:{height}" + (f"c{cap}" if cap < height and not large else "")
        elif seat := board.markers.get(cell, 0):
            text = f"+{seat}"
        elif seat := board.collapsed.get(cell, 0):
            text = f"#{seat}"
        text = f"{text:^{wide}}"
        return f"\x1b[{ANSI[seat - 1]}m{text}\x1b[0m" if colour and seat else text

    r = info.width // 2 if info.is_hex else 0
    lines = []
    if not info.is_hex:
        lines.append("    " + "".join(f"{x:^{wide}}" for x in range(info.height)).rstrip())
    for y in range(-r, info.width - r):
        xs = [x for x in range(-r, info.height - r) if not info.is_hex or abs(x + y) <= r]
        indent = " " * (wide * abs(y) // 2) if info.is_hex else ""
        row = f"{y:>3} {indent}" + "".join(drawn((x, y)) for x in xs).rstrip()
        lines.append(row + (f"  x {xs[0]} to {xs[-1]}" if info.is_hex else ""))
    for seat, score in enumerate(game.scores(), start=1):
        mark = ">" if seat == game.to_move else " "
        row = f"{mark} seat {seat}: {score.hand} in hand, {score.elim} eliminated, {score.terr} territory, "
        row += f"{score.stacks} stacks, {score.markers} markers"
        lines.append(f"\x1b[{ANSI[seat - 1]}m{row}\x1b[0m" if colour else row)
    return "\n".join([*lines, heading(game)])


def heading(game: Game) -> str:
    """Whose turn it is, or who won."""
    if outcome := game.outcome():
        return f"seat {outcome.winner} has won: {outcome.reason} ({outcome.detail})"
    return f"ply {game.ply}, seat {game.to_move}, {game.phase.name.lower()}, {len(game.legal_moves)} legal moves"


def svg(
    game: Game,
    *,
    arrows: Sequence[tuple[str, str] | tuple[str, str, str]] = (),
    heat: Mapping[str, float] | None = None,
    size: int = 480,
    last_move: bool = True,
) -> str:
    """The position as a picture.

    Args:
        arrows: `(from, to)` or `(from, to, colour)`, cells written `x,y`.
        heat: cell → 0 to 1, shown as a glow.
        size: width in pixels.
        last_move: mark the cells of the last ply.
    """
    board = Board.of(game)
    place = hex_place if board.info.is_hex else square_place
    at = {cell: place(cell) for cell in board.cells}
    left, right = min(x for x, _ in at.values()) - 1.0, max(x for x, _ in at.values()) + 1.0
    top, bottom = min(y for _, y in at.values()) - 1.0, max(y for _, y in at.values()) + 1.0
    foot = 0.075 * (right - left)
    width, height = right - left, bottom - top + foot
    box, tall = f"{left:.3f} {top:.3f} {width:.3f} {height:.3f}", round(size * height / width)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{size}" height="{tall}">',
        f'<rect x="{left:.3f}" y="{top:.3f}" width="{width:.3f}" height="{height:.3f}" rx=".3" fill="#efe6d2"/>',
    ]
    out += [cell_shape(board, cell, at[cell], (heat or {}).get(f"{cell[0]},{cell[1]}", 0.0)) for cell in board.cells]
    out += coordinates(board.info, at)
    if last_move and game.ply:
        text = game.moves[-1].text
        marked = dict.fromkeys(map(point, CELL.findall(text))) if text[0] in "PMCKREF" else {}
        out += [outline(board.info, at[cell], 'fill="none" stroke="#3d3426" stroke-width=".06"') for cell in marked]
    for cell, seat in board.markers.items():
        x, y = at[cell]
        style = f'fill="{INKS[seat - 1]}" stroke="#fff" stroke-width=".05"'
        out.append(f'<circle cx="{x:.3f}" cy="{y:.3f}" r=".15" {style}/>')
    for cell, rings in sorted(board.stacks.items(), key=lambda item: at[item[0]][1]):
        out += stack_shape(rings, at[cell])
    for start, end, *colour in arrows:
        for name in (start, end):
            if not CELL.fullmatch(name) or point(name) not in at:
                raise RulesError(f"an arrow needs two cells of {board.info.board} written x,y, not {name!r}")
        out.append(arrow_shape(at[point(start)], at[point(end)], *colour))
    out += legend(game, left, bottom, width, foot)
    return "\n".join([*out, "</svg>"])


def square_place(cell: Point) -> tuple[float, float]:
    """Centre of a square cell, in cells."""
    return float(cell[0]), float(cell[1])


def hex_place(cell: Point) -> tuple[float, float]:
    """Centre of a hexagonal cell of pointed top, in cells."""
    return cell[0] + cell[1] / 2, cell[1] * math.sqrt(3) / 2


def outline(info: ConfigInfo, at: tuple[float, float], style: str, scale: float = 0.96) -> str:
    """A cell's border around its centre."""
    x, y = at
    if not info.is_hex:
        side = scale
        return f'<rect x="{x - side / 2:.3f}" y="{y - side / 2:.3f}" width="{side}" height="{side}" rx=".06" {style}/>'
    r = scale / math.sqrt(3)
    corners = (f"{x + r * math.sin(k * math.pi / 3):.3f},{y + r * math.cos(k * math.pi / 3):.3f}" for k in range(6))
    return f'<polygon points="{" ".join(corners)}" {style}/>'


def cell_shape(board: Board, cell: Point, at: tuple[float, float], heat: float) -> str:
    """An empty or collapsed cell, with its heat."""
    seat = board.collapsed.get(cell, 0)
    fill = TINTS[seat - 1] if seat else "#fbf6ea"
    shape = outline(board.info, at, f'fill="{fill}" stroke="#d8c9a8" stroke-width=".025"')
    if seat:
        style = f'fill="none" stroke="{INKS[seat - 1]}" stroke-opacity=".55" stroke-width=".05"'
        shape += outline(board.info, at, style, 0.8)
    if heat > 0:
        shape += outline(board.info, at, f'fill="#e8590c" fill-opacity="{min(heat, 1.0) * 0.7:.3f}"')
    return shape


def stack_shape(rings: str, at: tuple[float, float]) -> Iterator[str]:
    """Rings seen from slightly above, the bottom one first, and the height where it cannot be counted at a glance."""
    x, y = at
    step = min(0.13, 0.5 / max(len(rings) - 1, 1))
    low = y + step * (len(rings) - 1) / 2
    for i, seat in enumerate(rings):
        ellipse = f'<ellipse cx="{x:.3f}" cy="{low - i * step:.3f}" rx=".3" ry=".19" fill="none"'
        yield f'{ellipse} stroke="#2a241b" stroke-width=".17"/>'
        yield f'{ellipse} stroke="{INKS[int(seat) - 1]}" stroke-width=".12"/>'
    if len(rings) > 2:
        top = low - step * (len(rings) - 1)
        font = 'text-anchor="middle" font-family="sans-serif" font-weight="bold"'
        style = f'font-size=".26" {font} fill="#2a241b" stroke="#fff" stroke-width=".07" paint-order="stroke"'
        yield f'<text x="{x:.3f}" y="{top + 0.09:.3f}" {style}>{len(rings)}</text>'


def arrow_shape(start: tuple[float, float], end: tuple[float, float], colour: str = "#3d3426") -> str:
    """An arrow between two centres, ending short of the second."""
    (x0, y0), (x1, y1) = start, end
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    x1, y1 = x1 - 0.12 * ux, y1 - 0.12 * uy
    bx, by = x1 - 0.32 * ux, y1 - 0.32 * uy
    style = f'stroke="{escape(colour)}" stroke-width=".12" stroke-linecap="round"'
    head = f"{x1:.3f},{y1:.3f} {bx - 0.2 * uy:.3f},{by + 0.2 * ux:.3f} {bx + 0.2 * uy:.3f},{by - 0.2 * ux:.3f}"
    line = f'<line x1="{x0:.3f}" y1="{y0:.3f}" x2="{bx:.3f}" y2="{by:.3f}" {style}/>'
    return f'<g opacity=".8">{line}<polygon points="{head}" fill="{escape(colour)}"/></g>'


def coordinates(info: ConfigInfo, at: Mapping[Point, tuple[float, float]]) -> Iterator[str]:
    """Values of y along the left, of x along the top of squares and the lower right of hexagons."""
    style = 'font-size=".3" font-family="sans-serif" fill="#8a7a5c" text-anchor="middle"'
    r = info.width // 2 if info.is_hex else 0
    for n in range(-r, info.width - r):
        x, y = at[min(cell for cell in at if cell[1] == n)]
        yield f'<text x="{x - 0.72:.3f}" y="{y + 0.1:.3f}" {style}>{n}</text>'
        column = [at[cell] for cell in at if cell[0] == n]
        x, y = max(column, key=lambda place: place[1]) if info.is_hex else column[0]
        dx, dy = (0.42, 0.82) if info.is_hex else (0.0, -0.6)
        yield f'<text x="{x + dx:.3f}" y="{y + dy:.3f}" {style}>{n}</text>'


def legend(game: Game, left: float, top: float, width: float, foot: float) -> Iterator[str]:
    """A line under the board: what each seat has, and whose turn it is."""
    em = foot * 0.33
    scores = game.scores()
    share = width / (len(scores) + 1.4)
    font_size = min(em * 0.8, share / 16)
    y, font = top + em, f'font-size="{font_size:.3f}" font-family="sans-serif" fill="#3d3426"'
    for i, score in enumerate(scores):
        x = left + share * (i + 0.25)
        bold = ' font-weight="bold"' if i + 1 == game.to_move else ""
        text = f"{score.hand} hand · {score.elim} out · {score.terr} terr"
        yield f'<circle cx="{x:.3f}" cy="{y - em * 0.3:.3f}" r="{em * 0.4:.3f}" fill="{INKS[i]}"/>'
        yield f'<text x="{x + em * 0.7:.3f}" y="{y:.3f}" {font}{bold}>{text}</text>'
    outcome = game.outcome()
    words = f"seat {outcome.winner} won" if outcome else f"seat {game.to_move}: {game.phase.name.lower()}"
    x = left + width - em * 0.6
    yield f'<text x="{x:.3f}" y="{y:.3f}" text-anchor="end" {font}>{words.replace("_", " ")}</text>'
