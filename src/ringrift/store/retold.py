"""Games that others played, as they tell them: played again move by move, and judged.

A game is valid only if every move is legal, the right seat makes it, and the end is the one that is told; else it is
quarantined with the reason, up to the move that differs. Games that the earlier service ended within a turn are valid
with a reason that begins with `early_`. Work ids are made from content: what is there is not added again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from pydantic_core import from_json

from ringrift._core import push_recorded
from ringrift.errors import IllegalMove, InvalidNotation, RingRiftError, RulesError
from ringrift.rules import Game, Options, Record, config_info
from ringrift.rules.record import EARLY, early_outcome
from ringrift.store import quality
from ringrift.store.games import GameRow
from ringrift.store.provenance import Provenance
from ringrift.store.schema import content_id
from ringrift.texts import shown
from ringrift.wire.moves import PLAIN, plain_keys, told, wire_meanings, wire_texts

GZIP = b"\x1f\x8b"
#: Letters of one game's JSON: the longest recorded one, with all legal moves at each ply, has 3.4 million.
LONGEST_GAME = 1 << 25
MILLISECONDS = 1e11  #: no time in seconds is beyond: it would be in the year 5138
TRIES = 256  #: ways tried through a game that does not say which stacks paid for its slides
#: Texts of recorded moves by type, of their fields; types that are not here need more to be told.
PATTERNS = PLAIN | {
    "place_ring": "P{to}*{placementCount}",
    "move_stack": "M{from}>{to}",
    "overtaking_capture": "C{from}x{captureTarget}>{to}",
    "continue_capture_segment": "K{from}x{captureTarget}>{to}",
    "process_line": "L{formedLines}{collapsedMarkers}{collapsePositions}",  # the latter two are null
    "choose_line_option": "O{formedLines}:{collapsedMarkers}",
    "choose_territory_option": "T{disconnectedRegions}",
    "eliminate_rings_from_stack": "E{to}:{eliminationContext}",
    "forced_elimination": "F{to}",
}
GIVEN_UP = ("resign", "timeout", "abandon")
#: Words of the earlier service for how a game ended, by what they contain.
ENDS = {
    "ring": "ring_elimination",
    "territory": "territory_control",
    "lps": "last_player",
    "last_player": "last_player",
}
#: (the seat that it names or none, the move: JSON, an object, or our text), its type where its row has it, and the rest
Move = tuple[Any, ...]


@dataclass(frozen=True)
class Recorded:
    """A game as its file tells it."""

    id: str
    """as the file names it, or the place in the file"""
    config: str
    options: Options
    moves: Sequence[Move]
    start: str = ""
    """position text; empty for the initial position"""
    problem: str = ""
    """what is already known to be wrong with its moves"""
    finished: bool = False
    """it says that it is over"""
    winner: int = 0
    """seat from 1; 0: it does not say"""
    end: str = ""
    """its word for how it ended"""
    count: int = 0
    """how many moves it says it has; 0: it does not say"""
    finals: tuple[tuple[int | None, int | None, int | None], ...] = ()
    """per seat eliminated rings, territory and rings in hand at the end"""
    players: tuple[str, ...] = ()
    seed: int = 0
    about: Mapping[str, str | int | float] | None = None

    @property
    def claims_end(self) -> bool:
        """It says, in one way or another, that it is over."""
        return self.finished or self.winner > 0


@dataclass(frozen=True)
class Refused:
    """A game of which nothing can be kept."""

    id: str
    reason: str


class Judged(NamedTuple):
    """A game as it is to be stored, or why nothing can be."""

    name: str
    row: GameRow | None
    problem: str | None
    unfinished: bool = False
    """every move is right, and the file does not say either that the game is over"""


def judge(game: Recorded | Refused | Record, file: str) -> Judged:
    """Plays a game again and compares its end with what its file, of this name, tells."""
    if isinstance(game, Refused):
        return Judged(game.id, None, game.reason)
    try:
        if isinstance(game, Record):
            return _judge_record(game, file)
        return _judge(game, file)
    except RingRiftError as error:  # of a start or of options that cannot be
        return Judged(game.id if isinstance(game, Recorded) else "", None, str(error))


def _judge_record(record: Record, file: str) -> Judged:
    record.replay()
    problem = None if record.winner else f"the game is not over after its {len(record.moves)} plies"
    return _judged(record.final_hash, record, problem, file, unfinished=not record.winner)


def _judge(recorded: Recorded, file: str) -> Judged:
    record, problem, unfinished = play_again(recorded, file)
    return _judged(recorded.id, record, problem, file, unfinished=unfinished)


def play_again(recorded: Recorded, file: str) -> tuple[Record, str | None, bool]:
    """The record of a game, played again as far as it goes; what is wrong with it, or none; and whether that is only
    that it does not claim to be over. Raises `RingRiftError` for a start or options that cannot be."""
    game = Game.parse(recorded.start) if recorded.start else Game(recorded.config, recorded.options)
    replay = _Replay(game, recorded)
    problem = replay.play(0)
    outcome = game.outcome() or early_outcome(game)
    about = {"file": file, "game": recorded.id, **(recorded.about or {})}
    about |= {name: value for name, value in (("end", recorded.end), ("filled", replay.filled)) if value}
    seats = config_info(recorded.config).players
    players = (*recorded.players, *("",) * seats)[:seats]
    record = Record.from_game(game, seed=recorded.seed, players=players, meta=about)
    if outcome is not None and not game.is_over:
        record = replace(record, winner=outcome.winner, reason=outcome.reason, ranks=outcome.ranks)
    cut = problem is not None and outcome is None and problem == _end_problem(recorded, game)
    return record, problem, cut and not recorded.claims_end


def _judged(name: str, record: Record, problem: str | None, file: str, *, unfinished: bool = False) -> Judged:
    content = content_id(record)
    if problem is not None:  # what does not replay is told apart by its name
        record = replace(record, winner=0, reason="", ranks=()) if record.reason.startswith(EARLY) else record
        content = hashlib.sha256(f"{content}/{name}/{problem}".encode()).hexdigest()[:32]
    work_id = f"import/{record.config}/{content}"
    made, about = Provenance(f"import:{file}"), record.meta
    row = GameRow.of(
        record, record.to_bytes(), work_id, made, created=unix_time(about.get("created")) or 0.0,
        origin={"file": file, "id": str(about.get("game", name))},
    )  # fmt: skip
    return Judged(name, row.judged(problem, None if problem else quality.score(record)), problem, unfinished)


def _end_problem(recorded: Recorded, game: Game) -> str | None:
    """Why the end is not the one that the file tells; none if it is."""
    outcome = game.outcome() or early_outcome(game)
    plies, said = game.ply, f"seat {recorded.winner} won" if recorded.winner else "it is over"
    if recorded.end:
        said += f" ({recorded.end})"
    if outcome is None:
        missing = f" of the {recorded.count} moves that it counts" if recorded.count > plies else ""
        told_over = f", although its file says that {said}" if recorded.claims_end else ""
        return f"the game is not over after its {plies} plies{missing}{told_over}"
    if recorded.count > len(recorded.moves):
        return f"its file counts {recorded.count} moves and has {len(recorded.moves)}"
    if recorded.winner not in (0, outcome.winner):
        return f"seat {outcome.winner} won by {outcome.reason} after {plies} plies, but its file says that {said}"
    word = re.sub(r"\W+", "_", recorded.end.lower())
    named = next((end for part, end in ENDS.items() if part in word), "")
    reason = outcome.reason.removeprefix(EARLY).replace("lps_rounds", "last_player_standing")
    if named and outcome.detail == "threshold" and not reason.startswith(named):
        return f"seat {outcome.winner} won by {outcome.reason} after {plies} plies, but its file says {recorded.end}"
    for seat, (finals, score) in enumerate(zip(recorded.finals, game.scores(), strict=False), start=1):
        names = ("eliminated rings", "territory", "rings in hand")
        for what, theirs, ours in zip(names, finals, (score.elim, score.terr, score.hand), strict=True):
            if theirs is not None and theirs != ours:
                return f"seat {seat} ends with {ours} as its {what}, but its file says {theirs}"
    return None


NO_ACTION = ("NP", "NM", "NL", "NT")


class _Replay:
    """Plays recorded moves on a game."""

    def __init__(self, game: Game, recorded: Recorded) -> None:
        self.game, self.recorded, self.moves = game, recorded, list(recorded.moves)
        self.filled = 0
        """moves without action that were played though not recorded"""
        self._tries = TRIES

    def play(self, at: int) -> str | None:
        """Plays the moves from that index on; what is wrong, or none. The game stays before the move that is wrong."""
        game = self.game
        while (index := push_recorded(game, self.moves, at, PATTERNS)) < len(self.moves):
            at = index + 1
            try:
                found = self._meanings(index)
            except RulesError as error:
                again: list[list[int]] = []
                if not (self._fillable and self._fill(lambda: self._means(index, again))):  # noqa: B023
                    return f"ply {game.ply}: {error}"
                found = again[0]
            if len(found) > 1:
                return self._try(found, index)
            game.push_packed(found[0])
        if self.recorded.problem:
            return self.recorded.problem
        if not game.is_over and self._fillable:
            self._fill(lambda: game.is_over)  # what ends the last turn
        return _end_problem(self.recorded, game)

    def _try(self, moves: Sequence[int], index: int) -> str | None:
        """Goes on with each of the moves in turn, until the rest can be played and ends as it should."""
        ply, filled, problem = self.game.ply, self.filled, None
        for bits in moves:
            if self._tries == 0:
                break
            self._tries -= 1
            while self.game.ply > ply:
                self.game.pop_packed()
            self.filled = filled
            self.game.push_packed(bits)
            problem = self.play(index + 1)
            if problem is None:
                return None
        return problem or f"ply {ply}: it does not say which stacks pay, and {TRIES} ways were tried"

    def _meanings(self, index: int) -> list[int]:
        """The playable moves, packed, that a recorded one can mean. Raises RulesError where there is none."""
        game, (seat, move, *more) = self.game, self.moves[index]
        if isinstance(move, bytes) or (isinstance(move, str) and move.lstrip()[:1] in ("{", '"')):
            try:
                move = document(move, "move")
            except ValueError as error:
                raise InvalidNotation(str(error)) from error
        if (outcome := game.outcome()) is not None:
            left = len(self.moves) - index
            raise IllegalMove(f"seat {outcome.winner} had won by {outcome.reason}, but {left} more moves follow")
        if isinstance(move, str):
            return [game.parse_packed(move)]
        if not isinstance(move, Mapping):
            raise InvalidNotation(f"{shown(move)} is not a move")
        if more and more[0] and not {"type", "movetype"} & plain_keys(move).keys():
            move = {**move, "type": more[0]}
        about = plain_keys(move)
        if (kind := str(about.get("type", about.get("movetype")))) in GIVEN_UP:
            raise IllegalMove(f"the game was broken off ({kind})")
        for one in (seat, about.get("player")):
            if one is not None and str(one) != str(game.to_move):
                raise IllegalMove(f"{told(move)} is of seat {shown(one)}, but seat {game.to_move} is to move")
        if len(texts := wire_texts(move)) == 1:
            try:
                return [game.parse_packed(texts[0])]
            except IllegalMove:
                pass  # said below in other words
        return [game.parse_packed(text) for text in wire_meanings(move, game.move_texts(True))]

    def _means(self, index: int, found: list[list[int]]) -> bool:
        try:
            found.append(self._meanings(index))
        except RulesError:
            return False
        return True

    @cached_property
    def _fillable(self) -> bool:
        """True for a recording without the moves that only say that nothing can be done: they are forced."""
        return not any(given in NO_ACTION or re.search(r"\bno_\w+_action", str(given)) for _, given, *_ in self.moves)

    def _fill(self, until: Callable[[], bool]) -> bool:
        """Plays moves without action while they are the only ones, until something holds; none where it never does."""
        ply = self.game.ply
        while (texts := self.game.move_texts(True)) and texts[0] in NO_ACTION and self.game.ply - ply < 16:
            self.game.push_text(texts[0])
            if until():
                self.filled += self.game.ply - ply
                return True
        while self.game.ply > ply:
            self.game.pop_packed()
        return False


def document(given: object, what: str) -> Any:
    """JSON as a document: as it is, or from text or bytes, packed or not. Raises ValueError naming `what` it is."""
    try:
        if isinstance(given, str) and given.lstrip()[:1] not in '[{"':
            given = base64.b64decode(given, validate=True)
        if isinstance(given, bytes):
            given = _inflated(given) if given.startswith(GZIP) else given
            given = _inflated(given) if given[:1] == b"\x78" else given
        read = from_json(given, allow_inf_nan=False) if isinstance(given, str | bytes) and given else given
    except (ValueError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"its {what} cannot be read, as JSON or packed by gzip or zlib ({error})") from error
    return document(read, what) if isinstance(read, str) and read.lstrip()[:1] in ("[", "{") else read


def _inflated(packed: bytes) -> bytes:
    """What gzip or zlib packed. Raises zlib.error, and ValueError where it is longer than a game."""
    unpacker = zlib.decompressobj(wbits=47)
    found = unpacker.decompress(packed, LONGEST_GAME)
    if not unpacker.eof:
        raise ValueError("it is truncated" if len(found) < LONGEST_GAME else "it is longer than any game")
    return found


def unix_time(given: object) -> float | None:
    """Seconds of a time that a file tells: a number, of milliseconds where it is so large, or ISO form, UTC unless it
    says otherwise; None for anything else, and for what is before 1970 or beyond the years that have four digits."""
    if isinstance(given, int | float):
        at = given / (1000 if given > MILLISECONDS else 1) if abs(given) < 1000 * MILLISECONDS else -1.0
    else:
        try:
            told = datetime.fromisoformat(str(given))
        except ValueError:
            return None
        at = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return at if 0 <= at <= MILLISECONDS else None
