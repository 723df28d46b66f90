"""Games as the game server sends them: `GameState` JSON to a `Game` and back, and `Move` JSON of a game's moves.

The state tells little of the turn in progress; it is derived from the moves of that turn at the end of `moveHistory`. A
state written here also carries all of it, as `ringrift.turn`, which holds while the history has as many moves as then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ringrift.errors import IllegalMove, InvalidNotation, RulesError
from ringrift.rules.config import config_info
from ringrift.rules.game import Game, Move, Options, Phase
from ringrift.wire.moves import KINDS, MODES, PLAIN, cell, wire_meanings

SIZES = {"square8": 8, "square19": 19, "hex8": 9, "hexagonal": 25}
#: Texts of `gameStatus` of a game that goes on, and of one that does not.
GOING, ENDED = ("active", "waiting", "paused"), ("finished", "completed", "abandoned")
PHASES = {phase.name.lower(): phase for phase in Phase}
LINES = {"process_line", "choose_line_option", "choose_line_reward", "line_formation"}
REGIONS = {"choose_territory_option", "process_territory_region", "territory_claim"}
#: Types of moves that have no part in a turn but to be there. Swapping sides is none of them.
IDLE = re.compile("no_|skip_")
#: Moves that only a seat makes that could act, as the tracker of the last player standing counts it.
ACTS = {"place_ring", "skip_placement", "move_stack", "move_ring", "overtaking_capture"}
NAMES = {text: name for name, text in PLAIN.items()} | {
    text: name for name, text in reversed(KINDS.items()) if text not in "TLO"
} | {"L": "process_line", "O": "choose_line_option", "T": "choose_territory_option"}  # fmt: skip
_CELL = re.compile(r"-?\d{1,2},-?\d{1,2}")
_KEY = re.compile(r"(-?\d{1,2}),(-?\d{1,2})(?:,(-?\d{1,2}))?")
_TURN = re.compile(r"[a-z0-9=,+/_ -]{1,200}")
_MISSING = object()


class WireError(RulesError):
    """A state or move that cannot be understood; `loc` is the way to the field."""

    def __init__(self, message: str, *loc: str | int) -> None:
        super().__init__(message)
        self.loc = loc


# -- reading -----------------------------------------------------------------------------------------------------------


def read_state(given: Mapping[str, Any]) -> Game:
    """The game of a `GameState`. Unknown fields are ignored.

    Raises `WireError` naming the field that is missing or cannot be, and why.
    """
    text = _text(given)
    try:
        return Game.parse(text)
    except InvalidNotation as error:
        raise WireError(str(error), "board") from error


def read_config(given: Mapping[str, Any]) -> str:
    """Which config a `GameState` is of. Raises `WireError`."""
    board = _field(given, dict, "board")
    name = given.get("boardType", board.get("type"))
    if not isinstance(name, str) or name not in SIZES:
        raise WireError(f"unknown board; one of {', '.join(SIZES)} is right", "boardType")
    if board.get("type", name) != name:
        raise WireError(f"another board than boardType, which is {name}", "board", "type")
    if board.get("size", SIZES[name]) != SIZES[name]:
        raise WireError(f"{name} has the size {SIZES[name]}", "board", "size")
    seats = len(_field(given, list, "players"))
    if not 2 <= seats <= 4:
        raise WireError(f"{seats} players; 2 to 4 is right", "players")
    return f"{name}_{seats}p"


def is_ended(given: Mapping[str, Any]) -> bool:
    """Whether the game of a `GameState` goes on no more. Raises `WireError`."""
    status, phase = _field(given, str, "gameStatus", "active"), _field(given, str, "currentPhase")
    if status not in (*GOING, *ENDED):
        raise WireError(f"unknown status; one of {', '.join((*GOING, *ENDED))} is right", "gameStatus")
    if phase not in PHASES:
        raise WireError(f"unknown phase; one of {', '.join(PHASES)} is right", "currentPhase")
    return status in ENDED or phase == "game_over"


def _text(given: Mapping[str, Any]) -> str:
    """The position text of a `GameState`."""
    config = read_config(given)
    info = config_info(config)
    seats, name = info.players, info.board
    board, moves = given["board"], _history(given)
    options = _options(given)
    stacks, tops = list[str](), dict[str, int]()
    for key, stack in _field(board, dict, "stacks", at=("board",)).items():
        at = _key(key, name, "board", "stacks")
        rings = _field(stack, list, "rings", at=("board", "stacks", key))
        if not rings or not all(type(ring) is int and 1 <= ring <= seats for ring in rings):
            raise WireError(f"rings are one or more seats, 1 to {seats}, the top one first", "board", "stacks", key)
        tops[at] = rings[0]
        stacks.append(f"{at}:{''.join(map(str, reversed(rings)))}")
    markers = []
    for key, marker in _field(board, dict, "markers", {}, at=("board",)).items():
        owner = _number(marker, "player", 1, seats, at=("board", "markers", key))
        markers.append(f"{_key(key, name, 'board', 'markers')}:{owner}")
    collapsed, territory = [], [0] * seats
    spaces = _field(board, dict, "collapsedSpaces", {}, at=("board",))
    for key in spaces:
        owner = _number(spaces, key, 1, seats, at=("board", "collapsedSpaces"))
        collapsed.append(f"{_key(key, name, 'board', 'collapsedSpaces')}:{owner}")
        territory[owner - 1] += 1
    players = [_player(player, seat, territory) for seat, player in enumerate(given["players"], 1)]
    owned = "".join(stack.partition(":")[2] for stack in stacks)
    alive = [seat for seat, player in enumerate(players, 1) if player[:2] != "0," or str(seat) in owned]
    head = _head(given, seats, moves)
    for field, at in ("chainCapturePosition", head[4]), ("mustMoveFromStackKey", head[3]):
        if at != "-" and str(tops.get(at)) != head[2]:
            raise WireError(
                f"at {at} stands no stack of the seat to move", field if given.get(field) else "moveHistory"
            )
    turn = _turn(given, head, moves, options, alive)
    fields = [*head, "/".join(players), *map(" ".join, (stacks, markers, collapsed))]
    texts = [f"{name}={value}" for name, value in _option_texts(options)]
    return ";".join([config, ",".join(texts) or "-", *fields, turn])


def _history(given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The moves made, oldest first; of these only the turn in progress is looked at closely."""
    moves: list[Mapping[str, Any]] = _field(given, list, "moveHistory", [])
    for index, move in enumerate(moves):
        if type(move) is not dict or type(move.get("type")) is not str or type(move.get("player")) is not int:
            raise WireError("a move has a type and a player", "moveHistory", index)
        if not 1 <= move["player"] <= 4:
            raise WireError("1 to 4 is right", "moveHistory", index, "player")
    return moves


def _options(given: Mapping[str, Any]) -> Options:
    found = _field(given, dict, "rulesOptions", {})
    rounds = given.get("lpsRoundsRequired")
    named = {"lpsRoundsRequired": 3 if rounds is None else rounds} | {
        name: found[name]
        for name in ("swapRuleEnabled", "ringsPerPlayer", "lpsRoundsRequired")
        if found.get(name) is not None
    }
    try:
        return Options.from_dict(named)
    except RulesError as error:
        raise WireError(str(error)[:200], "rulesOptions") from error


def _option_texts(options: Options) -> Iterable[tuple[str, int]]:
    if options.swap_rule:
        yield "swap", 1
    if options.rings_per_player:
        yield "rings", options.rings_per_player
    if options.lps_rounds != Options.lps_rounds:
        yield "lps", options.lps_rounds


def _player(given: object, seat: int, territory: Sequence[int]) -> str:
    """`hand,eliminated,territory` of a seat."""
    at = ("players", seat - 1)
    if _number(given, "playerNumber", 1, 4, at=at) != seat:
        raise WireError(f"players stand in the order of their seats: {seat} is right", *at, "playerNumber")
    if _number(given, "territorySpaces", 0, 9999, territory[seat - 1], at=at) != territory[seat - 1]:
        told = f"the board has {territory[seat - 1]} collapsed spaces of this player"
        raise WireError(told, *at, "territorySpaces")
    hand, eliminated = (_number(given, name, 0, 9999, at=at) for name in ("ringsInHand", "eliminatedRings"))
    return f"{hand},{eliminated},{territory[seat - 1]}"


def _head(given: Mapping[str, Any], seats: int, moves: Sequence[Mapping[str, Any]]) -> list[str]:
    """The canonical fields before those of the seats."""
    if is_ended(given):
        winner = _number(given, "winner", 1, seats)
        return [f"over:{winner}", "game_over", "0", "-", "-", "0"]
    phase, seat = given["currentPhase"], _number(given, "currentPlayer", 1, seats)
    run = _run(moves, seat)
    must = chain = "-"
    placed = [move for move in run if move["type"] == "place_ring"]
    key = given.get("mustMoveFromStackKey")
    if phase in ("movement", "capture", "chain_capture"):
        if phase == "movement" and key is None and placed:
            must = _cell_of(placed[-1], "to", len(moves) - 1)
        elif phase == "movement" or not run:
            must = "-" if key is None else _key(key, None, "mustMoveFromStackKey")
        elif placed:  # on its way the stack has gone where the last move went
            must = _cell_of(run[-1], "to", len(moves) - 1)
    if phase == "chain_capture":
        if given.get("chainCapturePosition") is not None:
            chain = _cell_of(given, "chainCapturePosition")
        elif run:
            chain = _cell_of(run[-1], "to", len(moves) - 1)
        else:
            raise WireError("a chain of captures has the cell it has come to", "chainCapturePosition")
    owes = given.get("pendingLineRewardElimination")
    if owes is None:
        owes = _owes_line(run)
    if type(owes) is not bool:
        raise WireError("true or false is right", "pendingLineRewardElimination")
    return ["active", phase, str(seat), must, chain, str(int(owes and phase == "line_processing"))]


def _run(moves: Sequence[Mapping[str, Any]], seat: int) -> list[Mapping[str, Any]]:
    """The moves of the turn in progress: those at the end by the seat to move."""
    start = len(moves)
    while start and moves[start - 1]["player"] == seat:
        start -= 1
    return list(moves[start:])


def _owes_line(run: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the turn's last line was collapsed whole and its ring not paid yet."""
    last = run[-1] if run else {}
    if last.get("type") not in LINES:
        return False
    collapsed, lines = last.get("collapsedMarkers"), last.get("formedLines")
    if not collapsed or not lines:
        return True
    return type(lines) is list and type(lines[0]) is dict and len(collapsed) == len(lines[0].get("positions", ()))


def _turn(
    given: Mapping[str, Any],
    head: Sequence[str],
    moves: Sequence[Mapping[str, Any]],
    options: Options,
    alive: Sequence[int],
) -> str:
    """The turn fields of the position text."""
    own = given.get("ringrift")
    if type(own) is dict and own.get("moves") == len(moves):
        if type(own.get("turn")) is not str or not _TURN.fullmatch(own["turn"]):
            raise WireError("not the turn fields of a position text", "ringrift", "turn")
        return str(own["turn"])
    if head[0] != "active":
        return "-"
    seat, fields = int(head[2]), list[str]()
    run = _run(moves, seat)
    types = [move["type"] for move in run]
    if head[1] == "capture":
        if run:
            fields.append(f"capture={_cell_of(run[-1], 'to', len(moves) - 1)}")
        elif head[3] != "-":
            fields.append(f"capture={head[3]}")
        else:
            raise WireError("the phase capture needs the move before it: its stack may capture", "moveHistory")
    if head[1] == "territory_processing" and types and types[-1] in REGIONS:
        fields.append("owed=1")
    if not all(IDLE.match(type_) for type_ in types):
        fields.append("real=1")
    if "recovery_slide" in types:
        fields.append("recovery=1")
    if not moves:
        fields.append("fresh=1")
    if options.swap_rule and len(given["players"]) == 2 and not any(move["player"] == 2 for move in moves):
        fields.append("swap=open" if moves else "swap=wait")
    return " ".join([*fields, *_lps(given, alive, seat, moves)]) or "-"


def _lps(
    given: Mapping[str, Any], alive: Sequence[int], seat: int, moves: Sequence[Mapping[str, Any]]
) -> Iterable[str]:
    """The tracker of the last player standing. What is not sent is guessed: the second seat opens a round, as in a
    game from its beginning, or who comes next of those `alive`; and in the running round those could act who did."""
    found, at = _field(given, dict, "lpsTracking", {}), ("lpsTracking",)
    exclusive = _number(found, "consecutiveExclusivePlayer", 0, len(given["players"]), 0, at=at)
    rounds = _number(found, "roundIndex", 0, 65535, 0, at=at)
    count = _number(found, "consecutiveExclusiveRounds", 0, 255, 0, at=at)
    if not rounds:
        return
    first, last = min(alive, default=seat, key=lambda one: (one < 2, one)), seat
    seen, acted = {seat}, {seat}
    for move in reversed(moves):
        player = move["player"]
        if player != last and first in seen:
            break
        if move["type"] in ACTS:
            acted.add(player)
        elif player == seat and move["type"] in ("no_movement_action", "recovery_slide"):
            acted.discard(player)
        seen.add(player)
        last = player
    mask = "".join(f"{one}{'-+'[one in acted]}" for one in sorted(seen) if one in alive)
    yield f"lps={rounds},{first},{exclusive},{count},{mask}"


def _field(given: object, kind: type, name: str, default: Any = _MISSING, *, at: tuple[str | int, ...] = ()) -> Any:
    """A field of that type; null is as good as absent."""
    if type(given) is not dict:
        raise WireError("an object is right", *at)
    found = given.get(name)
    if found is None:
        if default is _MISSING:
            raise WireError("the field is missing", *at, name)
        return default
    if type(found) is not kind:
        known = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}
        raise WireError(f"{known[kind]} is right", *at, name)
    return found


def _number(
    given: object, name: str, least: int, most: int, default: Any = _MISSING, *, at: tuple[str | int, ...] = ()
) -> int:
    found: int = _field(given, int, name, default, at=at)
    if not least <= found <= most:
        raise WireError(f"{least} to {most} is right", *at, name)
    return found


def _key(key: object, board: str | None, *at: str | int) -> str:
    """The cell of a key `x,y` or `x,y,z`, as texts have it; `board`: on which it has to be."""
    found = _KEY.fullmatch(key) if isinstance(key, str) else None
    hexagons = board.startswith("hex") if board else None
    if not found or (hexagons is not None and (found[3] is not None) != hexagons):
        shape = {True: "x,y,z", False: "x,y", None: "x,y or x,y,z"}[hexagons]
        raise WireError(f"a cell is written {shape}", *at, *([key[:20]] if isinstance(key, str) else []))
    if found[3] is not None and int(found[1]) + int(found[2]) + int(found[3]):
        raise WireError("the coordinates of a hexagon add up to 0", *at, str(key))
    x, y = int(found[1]), int(found[2])
    if board is not None:
        low = -(SIZES[board] // 2) if hexagons else 0
        if not all(low <= one < low + SIZES[board] for one in ((x, y, -x - y) if hexagons else (x, y))):
            raise WireError(f"the cell is not on the board {board}", *at, str(key))
    return f"{x},{y}"


def _cell_of(given: Mapping[str, Any], name: str, index: int | None = None) -> str:
    at = (name,) if index is None else ("moveHistory", index, name)
    try:
        return cell(given.get(name))
    except InvalidNotation as error:
        raise WireError("a position has an x and a y", *at) from error


def read_move(game: Game, given: Mapping[str, Any], stacks: Iterable[str] = ()) -> Move:
    """The playable move that a `Move` means.

    Where it does not say which stack pays for a slide, the first of `stacks` that can does, as in the game server:
    these are the keys of `board.stacks` in their order. Raises `InvalidNotation` or `IllegalMove`.
    """
    if type(given.get("player")) is not int:
        raise InvalidNotation("a move has a player, 1 to the number of seats")
    if given["player"] != game.to_move:
        raise IllegalMove(f"player {str(given['player'])[:9]} is not to move, but {game.to_move}")
    found = wire_meanings(given, [move.text for move in game.playable_moves()])
    if len(found) > 1:
        order = [_CELL.match(key)[0] for key in stacks if _CELL.match(key)]  # type: ignore[index]
        found = [next((text for at in order for text in found if text.endswith(f"@{at}")), found[0])]
    return game.parse_move(found[0])


# -- writing -----------------------------------------------------------------------------------------------------------


class _Board:
    """The cells of a position as positions, and its stacks."""

    def __init__(self, game: Game) -> None:
        self.game, self.hexagons = game, config_info(game.config).is_hex
        self.fields = game.canonical().split(";")
        self.stacks = dict(entry.split(":") for entry in self.fields[7].split())  # rings from the bottom

    def position(self, text: str) -> dict[str, int]:
        x, y = map(int, text.split(","))
        return {"x": x, "y": y, "z": -x - y} if self.hexagons else {"x": x, "y": y}

    def positions(self, texts: str) -> list[dict[str, int]]:
        return [self.position(text) for text in texts.strip("[]").split()]

    def key(self, text: str) -> str:
        return ",".join(map(str, self.position(text).values()))

    def cap(self, text: str) -> int:
        rings = self.stacks[text]
        return len(rings) - len(rings.rstrip(rings[-1]))


def write_moves(game: Game, moves: Iterable[Move]) -> list[dict[str, Any]]:
    """Moves of the game as it stands, as `Move` objects with what the game server compares and plays."""
    board = _Board(game)
    return [_written(board, move.text) for move in moves]


def _written(board: _Board, text: str) -> dict[str, Any]:
    out: dict[str, Any] = {"type": NAMES.get(text) or NAMES[text[0]], "player": board.game.to_move}
    if text in NAMES and len(text) == 2:
        return out | {"to": {"x": 0, "y": 0}}
    cells, rest = _CELL.findall(text), text[1:]
    if text[0] in "MCKR":
        out["from"] = board.position(cells[0])
    if text[0] in "CK":
        out["captureTarget"] = board.position(cells[1])
    out["to"] = board.position(cells[{"M": 1, "R": 1, "C": 2, "K": 2}.get(text[0], 0)])
    match text[0]:
        case "P":
            out["placementCount"] = int(text.rpartition("*")[2])
        case "L" | "O":
            line, _, chosen = rest.partition(":")
            positions = board.positions(line)
            step = {axis: positions[1][axis] - positions[0][axis] for axis in positions[0]}
            player = board.game.to_move
            out["formedLines"] = [
                {"positions": positions, "player": player, "length": len(positions), "direction": step}
            ]
            if chosen:
                out["collapsedMarkers"] = positions if chosen == "A" else board.positions(chosen)
        case "T":
            out["disconnectedRegions"] = [_region(board, cells)]
        case "E" | "F":
            at, context = cells[0], {"l": "line", "t": "territory", "r": "recovery"}.get(text[-1])
            count = board.cap(at) if context in (None, "territory") else 1
            out["eliminatedRings"] = [{"player": board.game.to_move, "count": count}]
            if context != "line":
                out["eliminationFromStack"] = {
                    "position": board.position(at), "capHeight": board.cap(at), "totalHeight": len(board.stacks[at])
                }  # fmt: skip
            if context:
                out["eliminationContext"] = context
        case "R":
            how, _, payer = rest.partition(":")[2].partition("@")
            if how[0] == "L":
                out["option"] = int(how[1])
            out["recoveryMode"] = next(mode for mode, letter in MODES.items() if letter == how[0])
            if how.startswith("L2"):
                out["collapsePositions"] = board.positions(how[2:])
            out["extractionStacks"] = [board.key(payer)] if payer else []
    return out


def _region(board: _Board, cells: Sequence[str]) -> dict[str, Any]:
    """A region as the game server lists it: its cells in the order in which they are found from the first, and the
    first colour whose markers wall it."""
    inside = [(int(x), int(y)) for x, y in (text.split(",") for text in cells)]
    steps = (
        [(1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1), (0, 1)] if board.hexagons else [(0, 1), (1, 0), (0, -1), (-1, 0)]
    )
    found, around = inside[:1], set[str]()
    for x, y in found:  # grows meanwhile
        for dx, dy in steps:
            if (beside := (x + dx, y + dy)) not in inside:
                around.add(f"{beside[0]},{beside[1]}")
            elif beside not in found:
                found.append(beside)
    markers = dict(entry.split(":") for entry in board.fields[8].split())
    within, walls = ({markers[text] for text in some if text in markers} for some in (cells, around))
    walled = [seat for seat in sorted(set(markers.values())) if seat not in within and walls <= {seat}]
    return {
        "spaces": [board.position(f"{x},{y}") for x, y in found],
        "controllingPlayer": int(walled[0]) if walled else board.game.to_move,
        "isDisconnected": True,
    }


def write_state(
    game: Game, history: Sequence[Mapping[str, Any]] = (), *, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The game as it stands as a `GameState`, after the moves of `history`, in the form of the backend.

    `about`: fields that a game does not know, such as `id` and `rngSeed`; they go before those written here.
    """
    info, board, options = config_info(game.config), _Board(game), game.options
    status, phase, _, must, chain, owes = board.fields[:6]
    over, text = game.is_over, game.text()
    turn = text.rpartition(";")[2]
    rings = {key: [int(ring) for ring in reversed(stack)] for key, stack in board.stacks.items()}
    scores = game.scores()
    stacks = {
        board.key(key): {
            "position": board.position(key), "rings": stack, "stackHeight": len(stack), "capHeight": board.cap(key),
            "controllingPlayer": stack[0],
        }
        for key, stack in rings.items()
    }  # fmt: skip
    markers = {
        board.key(key): {"player": int(seat), "position": board.position(key), "type": "regular"}
        for key, seat in (entry.split(":") for entry in board.fields[8].split())
    }
    collapsed = {board.key(key): int(seat) for key, seat in (entry.split(":") for entry in board.fields[9].split())}
    players = [
        {"playerNumber": seat, "ringsInHand": one.hand, "eliminatedRings": one.elim, "territorySpaces": one.terr}
        for seat, one in enumerate(scores, 1)
    ]
    lps = game.lps.split(",")
    state = dict(about or {}) | {
        "boardType": info.board,
        "board": {
            "type": info.board, "size": SIZES[info.board], "stacks": stacks, "markers": markers,
            "collapsedSpaces": collapsed, "territories": {}, "formedLines": [],
            "eliminatedRings": {str(seat): one.elim for seat, one in enumerate(scores, 1)},
        },
        "players": players,
        "currentPhase": phase,
        "currentPlayer": game.to_move or game.outcome().winner,  # type: ignore[union-attr]
        "gameStatus": "completed" if over else "active",
        "moveHistory": list(history),
        "history": [],
        "rulesOptions": options.to_dict(),
        "lpsRoundsRequired": options.lps_rounds,
        "lpsTracking": {
            "roundIndex": int(lps[0]), "consecutiveExclusiveRounds": int(lps[3]),
            "consecutiveExclusivePlayer": int(lps[2]) or None,
        },
        "victoryThreshold": (2 * (options.rings_per_player or info.rings_per_player) * (info.players + 1) + 3) // 6,
        "territoryVictoryMinimum": info.territory_minimum,
        "totalRingsEliminated": sum(one.elim for one in scores),
        "ringrift": {"moves": len(history), "turn": turn},
    }  # fmt: skip
    if over:
        state["winner"] = int(status.partition(":")[2])
    if must != "-":
        state["mustMoveFromStackKey"] = board.key(must)
    if chain != "-":
        state["chainCapturePosition"] = board.position(chain)
    if phase == "line_processing":
        state["pendingLineRewardElimination"] = owes == "1"
    return state
