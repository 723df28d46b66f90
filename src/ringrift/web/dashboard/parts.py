"""Pieces of HTML that the pages share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ringrift.rules import Game, Outcome, config_info
from ringrift.web.dashboard.board import SIGNS
from ringrift.web.dashboard.choices import told

REASONS = {
    "ring_elimination": "enough rings eliminated",
    "territory_control": "most territory",
    "last_player_standing": "the last one standing",
    "lps_rounds": "alone able to act for the required rounds",
}


def sign(seat: int) -> str:
    """A seat's sign in its colour, as HTML."""
    return (
        f'<span class="sign s{seat}"><svg viewBox="-.7 -.7 1.4 1.4" aria-hidden="true">{SIGNS[seat - 1]}</svg></span>'
    )


def chances(values: Iterable[float]) -> str:
    """Each seat's probability of winning as a bar, as HTML."""
    shares = [float(value) for value in values]
    words = ", ".join(f"seat {seat} {share:.0%}" for seat, share in enumerate(shares, 1))
    parts = (
        f'<div class="s{seat}" style="width:{share:.2%}">{f"{share:.0%}" if share > 0.09 else ""}</div>'
        for seat, share in enumerate(shares, 1)
    )
    return f'<div class="chances" role="img" aria-label="Probability of winning: {words}">{"".join(parts)}</div>'


def seat_table(game: Game, names: Sequence[str]) -> str:
    """What each seat has, and whose turn it is, as HTML."""
    info = config_info(game.config)
    rows = []
    for seat, (name, score) in enumerate(zip(names, game.scores(), strict=True), 1):
        now = " class=now" if seat == game.to_move and not game.is_over else ""
        figures = (score.hand, f"{score.elim}/{info.victory_threshold}", f"{score.terr}/{info.territory_minimum}")
        cells = "".join(f"<td class=number>{figure}</td>" for figure in figures)
        rows.append(f"<tr{now}><td>{sign(seat)} {seat} {escape(name)}</td>{cells}</tr>")
    heads = "".join(f"<th scope=col class=number>{head}</th>" for head in ("In hand", "Eliminated", "Territory"))
    return f"<table><tr><th scope=col>Seat</th>{heads}</tr>{''.join(rows)}</table>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells of HTML as a table; columns in small letters, but for the first, hold numbers."""
    sides = [" class=number" if i and name[0].islower() else "" for i, name in enumerate(columns)]
    head = "".join(f"<th scope=col{side}>{name.capitalize()}</th>" for name, side in zip(columns, sides, strict=True))
    lines = ["".join(f"<td{side}>{cell}</td>" for cell, side in zip(row, sides, strict=True)) for row in rows]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def escaped(row: Sequence[str]) -> list[str]:
    """Texts as HTML."""
    return [escape(cell) for cell in row]


def ply_told(seat: int, text: str) -> str:
    """A ply in words and as written, as HTML."""
    return f"{sign(seat)} {told(text)} <code>{text}</code>"


def listing(lines: Iterable[str]) -> str:
    """Lines of HTML, one below the other."""
    return f"<ol class=log>{''.join(f'<li>{line}</li>' for line in lines) or '<li>Nothing yet</li>'}</ol>"


def ended(outcome: Outcome) -> str:
    """Who has won, why, and the places, as HTML."""
    places = ", ".join(f"seat {seat}: {rank}" for seat, rank in enumerate(outcome.ranks, 1))
    why = REASONS[outcome.reason] + (f" ({outcome.detail.replace('_', ' ')})" if outcome.detail else "")
    winner = f"<strong>{sign(outcome.winner)} Seat {outcome.winner} has won</strong>"
    return f"<div class=won>{winner}: {why}. Places: {places}.</div>"
