"""Moves as the game server writes them, JSON objects, to our text and back.

Keys are read in camel case and snake case, cells as objects, pairs or text; what a move leaves out is filled in from
the playable list where only one move fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ringrift.errors import IllegalMove, InvalidNotation
from ringrift.texts import shown

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
_CELL = re.compile(r"(-?\d{1,4}),(-?\d{1,4})")
_AT = r"-?\d+,-?\d+"
#: What the text of a move tells, under the names of an object's fields.
_SHAPES = {
    "P": rf"P(?P<to>{_AT})\*(?P<placementCount>\d)",
    "M": rf"M(?P<from>{_AT})>(?P<to>{_AT})",
    "C": rf"[CK](?P<from>{_AT})x(?P<captureTarget>{_AT})>(?P<to>{_AT})",
    "R": rf"R(?P<from>{_AT})>(?P<to>{_AT}):(?P<recoveryMode>[LFS])(?P<recoveryOption>\d?)"
    rf"(?:\[(?P<collapsePositions>[^]]*)\])?(?:@(?P<extractionStacks>{_AT}))?",
    "L": r"[LO]\[(?P<formedLines>[^]]*)\](?::A|:\[(?P<collapsedMarkers>[^]]*)\])?",
    "T": r"T\[(?P<disconnectedRegions>[^]]*)\]",
    "E": rf"E(?P<to>{_AT}):(?P<eliminationContext>\w)",
    "F": rf"F(?P<to>{_AT})",
}
SHAPES = {kind: re.compile(shape) for kind, shape in _SHAPES.items()} | {
    same: re.compile(_SHAPES[kind]) for same, kind in (("K", "C"), ("O", "L"))
}
FAR = 10_000  #: no coordinate and no count is beyond
CELLS = ("positions", "spaces", "cells", "markers")  #: under which an object has its cells


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
        if type(x) is int and type(y) is int and -FAR < x < FAR and -FAR < y < FAR:
            return x, y
        pair: object = [x, y]
    else:
        pair = given
    match pair:  # 3.0 is 3, as JavaScript has it
        case [int() | float() as x, int() | float() as y, *_] if (
            bool not in (type(x), type(y)) and -FAR < x < FAR and -FAR < y < FAR and x % 1 == 0 == y % 1
        ):
            return int(x), int(y)
        case str() if found := _CELL.match(pair):
            return int(found[1]), int(found[2])
    raise InvalidNotation(f"{shown(given)} is not a cell: it has an x and a y")


def cells(given: Sequence[object]) -> str:
    """A list of cells, as our texts have it."""
    return " ".join(f"{x},{y}" for x, y in sorted(map(_pair, given)))


def wire_meanings(move: Mapping[str, Any], playable: Sequence[str]) -> list[str]:
    """Which playable moves an object can mean; several only where it does not say which stack pays for a slide.

    What it leaves out, or tells in a form that says no cells (a count of lines), is open: the only playable move that
    agrees with the rest is meant.

    Raises:
        InvalidNotation: not a move of a known type, or a field of it cannot be read.
        IllegalMove: no playable move fits, or several that differ in more.
    """
    exact = wire_texts(move)
    found = [text for text in exact if text in playable] or _agreeing(move, playable)
    if not found:
        raise IllegalMove(f"{exact[0] if exact else told(move)} is not legal there")
    if len({text.partition("@")[0] for text in found}) > 1:
        raise IllegalMove(f"{told(move)} can mean {' or '.join(found[:4])}: {_apart(found)} would tell them apart")
    return found


def _agreeing(move: Mapping[str, Any], playable: Sequence[str]) -> list[str]:
    """The playable moves that agree with what an object tells."""
    name, given = _read(move)
    kinds = _kinds(name)
    found = [text for text in playable if _agrees(kinds, given, text)]
    if "collapsedMarkers" not in given:  # nothing of markers is said: the whole line
        found = [text for text in found if text[0] != "O" or text.endswith(":A")]
    return found


def wire_texts(move: Mapping[str, Any]) -> list[str]:
    """The texts that an object can mean where its fields tell them; empty where the playable list has to be looked at.

    Raises:
        InvalidNotation: not a move of a known type, or a field of it cannot be read.
    """
    name, given = _read(move)
    if name in PLAIN:
        return [PLAIN[name]]
    kind, at = KINDS.get(name, ""), given.get
    if kind == "P" and "to" in given:
        return [f"P{at('to')}*{at('placementCount', '1')}"]
    if kind in ("M", "C", "K") and {"from", "to"} <= given.keys() and (kind == "M" or "captureTarget" in given):
        return [f"{kind}{at('from')}{'x' + given['captureTarget'] if kind != 'M' else ''}>{at('to')}"]
    if kind in ("E", "F") and "to" in given:
        return [f"F{at('to')}"] if kind == "F" else [f"E{at('to')}:{one}" for one in at("eliminationContext", "ltr")]
    if kind == "T" and "disconnectedRegions" in given:
        return [f"T[{at('disconnectedRegions')}]"]
    if kind in ("L", "O") and "formedLines" in given and not at("collapsedMarkers", "").isdigit():
        line = given["formedLines"]
        chosen = at("collapsedMarkers", line)
        return [f"L[{line}]", f"O[{line}]:A"] if chosen == line else [f"O[{line}]:[{chosen}]"]
    return []


def _kinds(name: str) -> str:
    """First letters of the texts that are of a type; all where none is given."""
    if not name:
        return "".join(SHAPES)
    return PLAIN.get(name) or {"L": "LO", "O": "LO"}.get(KINDS[name], KINDS[name])


def _agrees(kinds: str, given: Mapping[str, str], text: str) -> bool:
    """Whether a playable move is one of the kinds, and has what is given."""
    if text in PLAIN.values():
        return text == kinds
    if text[0] not in kinds or kinds in PLAIN.values() or not (shape := SHAPES[text[0]].fullmatch(text)):
        return False
    has = {name: value for name, value in shape.groupdict().items() if value is not None}
    if text[0] in "LO":
        has.setdefault("collapsedMarkers", has["formedLines"])
    for name, value in given.items():
        theirs = has.get(name)
        if theirs is None:
            among = has.get("formedLines", has.get("disconnectedRegions"))
            if name == "to" and among is not None:
                if value not in among.split() and not {"formedLines", "disconnectedRegions"} & given.keys():
                    return False
            elif len(kinds) > 2:  # of no type: what it tells is all there is to know it by
                return False
        elif value != theirs and not (name == "collapsedMarkers" and value == str(len(theirs.split()))):
            if name == "recoveryOption" and has["recoveryMode"] != "L":
                continue
            return False
    return True


def _apart(texts: Sequence[str]) -> str:
    """The fields in which some moves differ."""
    told = [shape.groupdict() if (shape := SHAPES[text[0]].fullmatch(text)) else {} for text in texts]
    names = dict.fromkeys(name for one in told for name in one)
    differing = [name for name in names if len({one.get(name) for one in told}) > 1]
    return " or ".join(["type"] * (len({text[0] for text in texts}) > 1) + differing)


def _read(move: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The type, empty where there is none, and what the fields tell, as our texts have it.

    Raises InvalidNotation for an unknown type, and for a field that cannot be read.
    """
    about = plain_keys(move)
    name = _type(about)
    if name and name not in PLAIN and name not in KINDS:
        raise InvalidNotation(f"a move of the unknown type {shown(name)}")
    try:
        return name, {} if name in PLAIN else dict(_told(about))
    except InvalidNotation as error:
        raise InvalidNotation(f"{told(move)} cannot be read: {error}") from error


def _told(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, *others in (("from", "frompos"), ("to", "topos"), ("captureTarget", "capturetarget")):
        value = next((about[key] for key in (name, *others) if key in about), None)
        if value is not None:
            yield name, cell(value)
    for name, *keys in (
        ("formedLines", "formedlines"),
        ("disconnectedRegions", "disconnectedregions", "claimedterritory"),
        ("collapsedMarkers", "collapsedmarkers", "collapsepositions"),
        ("collapsePositions", "collapsepositions"),
    ):
        found = next((found for key in keys if (found := _cells_of(about.get(key)))), "")
        if found:
            yield name, found
        elif name == "collapsedMarkers" and (count := _whole(about.get("collapsedmarkers"))):
            yield name, count
    if stacks := about.get("extractionstacks"):
        first = stacks[0] if isinstance(stacks, list | tuple) else stacks
        if _whole(first) == "":
            yield "extractionStacks", cell(first.get("position", first) if isinstance(first, Mapping) else first)
    context = about.get("eliminationcontext")
    if isinstance(context, str) and context:
        yield "eliminationContext", context[0].lower()
    if count := _whole(placed := about.get("placementcount")):
        yield "placementCount", count
    elif placed is not None:
        raise InvalidNotation(f"placementCount is {shown(placed)}; a whole number is right")
    option = _whole(about.get("recoveryoption", about.get("option")))
    mode = MODES.get(str(about.get("recoverymode", ""))[:LONGEST].lower(), "L" if option else "")
    yield from ((name, value) for name, value in (("recoveryMode", mode), ("recoveryOption", option)) if value)


def _cells_of(given: object) -> str:
    """The cells of a list of cells, of an object that has one, or of the first of a list of such; empty for a count,
    or where there is nothing. Raises InvalidNotation for anything else."""
    for _ in range(4):
        if isinstance(given, Mapping) and (inner := next((given[key] for key in CELLS if key in given), None)):
            given = inner
        elif isinstance(given, list | tuple) and given and isinstance(given[0], Mapping | list | tuple):
            first = given[0]
            nested = first and (
                any(key in first for key in CELLS)
                if isinstance(first, Mapping)
                else isinstance(first[0], Mapping | str)
            )
            if not nested:
                return cells(given)
            given = first
    if not given or _whole(given):
        return ""
    if isinstance(given, str):
        given = re.split(r"[ ;|]+", given.strip(" []"))
    if isinstance(given, list | tuple):
        return cells(given)
    raise InvalidNotation(f"{shown(given)} is no list of cells")


def _whole(given: object) -> str:
    """A whole number as text; empty for anything else."""
    if isinstance(given, str):
        given = int(given) if given.isascii() and given.isdecimal() and len(given) < 5 else None
    if isinstance(given, int | float) and not isinstance(given, bool) and -FAR < given < FAR and given % 1 == 0:
        return str(int(given))
    return ""


def told(move: Mapping[str, Any]) -> str:
    """A move object in a few words."""
    about = plain_keys(move)
    words = [_type(about) or "a move without a type"]
    for name in ("from", "frompos", "to", "topos"):
        if name in about:
            try:
                words.append(f"{name.removesuffix('pos')} {cell(about[name])}")
            except InvalidNotation:
                words.append(f"{name.removesuffix('pos')} {shown(about[name])}")
    return " ".join(words)


def _type(about: Mapping[str, Any]) -> str:
    return str(about.get("type", about.get("movetype", "")))[:LONGEST].lower().removeprefix("movetype.")
