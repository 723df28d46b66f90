"""Moves as the game server writes them, JSON objects, to our text and back.

Keys are read in camel case and snake case, cells as objects, pairs or text; what a move leaves out is filled in from
the playable list where only one move fits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from ringrift.errors import IllegalMove, InvalidNotation

#: Types of moves that have no fields.
PLAIN = {
    "skip_placement": "SP",
    "no_placement_action": "NP",
    "swap_sides": "SW",
    "skip_capture": "SC",
    "no_movement_action": "NM",
    "skip_recovery": "SR",
    "no_line_action": "NL",
    "skip_territory_processing": "ST",
    "no_territory_action": "NT",
}
KINDS = {
    "place_ring": "P",
    "move_stack": "M",
    "overtaking_capture": "C",
    "continue_capture_segment": "K",
    "recovery_slide": "R",
    "process_line": "L",
    "choose_line_option": "O",
    "choose_territory_option": "T",
    "eliminate_rings_from_stack": "E",
    "forced_elimination": "F",
    # of old recordings
    "move_ring": "M",
    "chain_capture": "K",
    "line_formation": "L",
    "choose_line_reward": "O",
    "process_territory_region": "T",
    "territory_claim": "T",
}
MODES = {"line": "L", "fallback": "F", "stack_strike": "S"}
LONGEST = 60  #: letters of a key that are looked at: none that is known has as many
UNREADABLE = (TypeError, KeyError, ValueError, AttributeError, IndexError)
_CELL = re.compile(r"(-?\d+),(-?\d+)")


def plain_keys(given: Mapping[Any, Any]) -> dict[str, Any]:
    """The items that are not null, under keys of small letters only: `moveType` and `move_type` become `movetype`."""
    return {plain(str(key)[:LONGEST]): value for key, value in given.items() if value is not None}


@lru_cache(4096)
def plain(name: str) -> str:
    """The small letters of a name, without underscores, hyphens and blanks."""
    return re.sub("[_ -]", "", name).lower()


def cell(given: object) -> str:
    """A cell as text, from an object with x and y, a pair, or text. Raises InvalidNotation."""
    x, y = _pair(given)
    return f"{x},{y}"


def _pair(given: object) -> tuple[int, int]:
    if type(given) is dict:  # quicker than the patterns, and regions have many cells
        x, y = given.get("x"), given.get("y")
        if type(x) is int and type(y) is int:
            return x, y
        given = [x, y]
    match given:  # 3.0 is 3, as JavaScript has it
        case [int() | float() as x, int() | float() as y, *_] if x % 1 == 0 == y % 1 and bool not in (type(x), type(y)):
            return int(x), int(y)
        case str() if found := _CELL.match(given):
            return int(found[1]), int(found[2])
    raise InvalidNotation(f"{given!r} is not a cell: it has an x and a y")


def cells(given: Sequence[object]) -> str:
    """A list of cells, as our texts have it."""
    return " ".join(f"{x},{y}" for x, y in sorted(map(_pair, given)))


def wire_meanings(move: Mapping[str, Any], playable: Sequence[str]) -> list[str]:
    """Which playable moves an object can mean; several only where it does not say which stack pays for a slide.

    Raises:
        InvalidNotation: not a move of a known type, or a field of it cannot be read.
        IllegalMove: no playable move fits, or several that differ in more.
    """
    about, exact = plain_keys(move), wire_texts(move)
    try:
        found = [text for text in exact or playable if text in playable and (exact or _fits(_type(about), about, text))]
    except UNREADABLE as error:
        raise InvalidNotation(f"{told(move)} cannot be read: {error}") from error
    if not found:
        raise IllegalMove(f"{exact[0] if exact else told(move)} is not legal there")
    if len({text.partition("@")[0] for text in found}) > 1:
        raise IllegalMove(f"{told(move)} can mean {' or '.join(found[:4])}")
    return found


def wire_texts(move: Mapping[str, Any]) -> list[str]:
    """The texts that an object can mean where its fields tell them; empty where the playable list has to be looked at.

    Raises:
        InvalidNotation: not a move of a known type, or a field of it cannot be read.
    """
    about = plain_keys(move)
    name = _type(about)
    if name not in PLAIN and name not in KINDS:
        raise InvalidNotation(f"a move of the unknown type {name!r}")
    try:
        return _exact(PLAIN.get(name) or KINDS[name], about)
    except UNREADABLE as error:
        raise InvalidNotation(f"{told(move)} cannot be read: {error}") from error


def _exact(kind: str, about: Mapping[str, Any]) -> list[str]:
    match kind:
        case "P":
            return [f"P{_to(about)}*{about.get('placementcount', 1)}"]
        case "M":
            return [f"M{_from(about)}>{_to(about)}"]
        case "C" | "K":
            return [f"{kind}{_from(about)}x{cell(about.get('capturetarget'))}>{_to(about)}"]
        case "F":
            return [f"F{_to(about)}"]
        case "E":
            context = str(about.get("eliminationcontext", ""))[:1]
            return [f"E{_to(about)}:{one}" for one in ([context] if context else "ltr")]
        case "T" if regions := about.get("disconnectedregions") or about.get("claimedterritory"):
            return [f"T[{_first_cells(regions, 'spaces')}]"]
        case "L" | "O" if lines := about.get("formedlines"):
            line = _first_cells(lines, "positions")
            collapsed = about.get("collapsedmarkers") or about.get("collapsepositions")
            chosen = cells(collapsed) if collapsed else line
            return [f"L[{line}]", f"O[{line}]:A"] if chosen == line else [f"O[{line}]:[{chosen}]"]
        case "R" | "T" | "L" | "O":
            return []
    return [kind]


def _fits(name: str, about: Mapping[str, Any], text: str) -> bool:
    """Whether a playable move can be meant by one whose fields do not tell its text."""
    head, _, rest = text.partition(":")
    if KINDS[name] in "TLO":
        return (
            text[0] in ("T" if KINDS[name] == "T" else "LO") and rest in ("", "A") and _to(about) in head[2:-1].split()
        )
    rest, _, payer = rest.partition("@")
    option = about.get("recoveryoption", about.get("option"))
    mode = MODES.get(str(about.get("recoverymode", "")), "L" if option else "")
    payers = about.get("extractionstacks")
    return (
        head == f"R{_from(about)}>{_to(about)}"
        and rest.startswith(mode)
        and (option is None or rest[0] != "L" or rest[1] == str(option))
        and (not payers or not payer or cell(payers[0]) == payer)
    )


def _first_cells(given: Sequence[Any], inner: str) -> str:
    """The first of some lists of cells; or the cells themselves, where that is what is given."""
    first = given[0]
    return cells(first[inner] if isinstance(first, Mapping) and inner in first else given)


def told(move: Mapping[str, Any]) -> str:
    """A move object in a few words."""
    about = plain_keys(move)
    where = [f"{name} {about[name]}" for name in ("from", "frompos", "to", "topos") if name in about]
    return " ".join([_type(about) or "a move without a type", *where])


def _type(about: Mapping[str, Any]) -> str:
    return str(about.get("type", about.get("movetype", ""))).lower().removeprefix("movetype.")


def _to(about: Mapping[str, Any]) -> str:
    return cell(about.get("to", about.get("topos")))


def _from(about: Mapping[str, Any]) -> str:
    return cell(about.get("from", about.get("frompos")))
