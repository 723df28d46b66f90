"""The game: configs, options, moves and `Game`. Everything that is a rule happens in the compiled core."""

import hashlib
import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import wraps
from typing import Any, NamedTuple, Self, TypeVar, overload

import numpy as np

from ringrift import _core
from ringrift.errors import InvalidNotation, RulesError, unknown
from ringrift.rules.config import config_info

T = TypeVar("T")
MAX_RINGS_PER_PLAYER = 999
#: Names of the options in Python and in the game server's JSON.
WIRE_NAMES = {"swap_rule": "swapRuleEnabled", "rings_per_player": "ringsPerPlayer", "lps_rounds": "lpsRoundsRequired"}


class Phase(IntEnum):
    """Where in its turn the seat to move is (rules section 3)."""

    RING_PLACEMENT = 0
    MOVEMENT = 1
    CAPTURE = 2
    CHAIN_CAPTURE = 3
    LINE_PROCESSING = 4
    TERRITORY_PROCESSING = 5
    FORCED_ELIMINATION = 6
    GAME_OVER = 7


@dataclass(frozen=True)
class Options:
    """Rules that a game may change (rules section 2)."""

    swap_rule: bool = False
    """pie rule: seat 2 may take over seat 1's place at its first turn; two seats only"""
    rings_per_player: int | None = None
    """rings that each seat starts with; None: the board's number"""
    lps_rounds: int = 3
    """complete rounds alone with a real action that win by last player standing"""

    def __post_init__(self) -> None:
        checked_option("swapRuleEnabled", self.swap_rule, bool, 0, 1)
        checked_option("lpsRoundsRequired", self.lps_rounds, int, 1, 255)
        if self.rings_per_player is not None:
            checked_option("ringsPerPlayer", self.rings_per_player, int, 1, MAX_RINGS_PER_PLAYER)

    def to_dict(self) -> dict[str, bool | int]:
        """What differs from the defaults, under the names of the game server."""
        return {
            wire: getattr(self, name)
            for name, wire in WIRE_NAMES.items()
            if getattr(self, name) != getattr(Options, name)
        }

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Self:
        """Options under the names of the game server; unknown names are refused."""
        names = {wire: name for name, wire in WIRE_NAMES.items()}
        if not isinstance(given, dict):
            raise RulesError(f"options are an object such as {{'swapRuleEnabled': true}}, not {reprlib.repr(given)}")
        for name in given:
            if name not in names:
                raise RulesError(unknown("option", name, names))
        return cls(**{names[name]: value for name, value in given.items()})


def checked_options(options: Options | None) -> Options:
    """The options, by default the usual ones. Raises RulesError for what is none."""
    if options is not None and not isinstance(options, Options):
        raise RulesError(f"options are as in Options(swap_rule=True), not {reprlib.repr(options)}")
    return options or Options()


def _plain(text: str) -> str:
    """The text. Raises TypeError for what is none, InvalidNotation for one that the core cannot be given."""
    if not isinstance(text, str):
        raise TypeError(f"a text is right, such as 'P2,6*3' for a move, not {reprlib.repr(text)}")
    if not text.isascii():
        raise InvalidNotation(f"{text[:60]!a} has characters that no text of a game has")
    return text


def checked_option(name: str, value: object, kind: type, least: int, most: int) -> None:
    """Raises RulesError for an option of another type or out of its range."""
    if type(value) is not kind or not least <= int(value) <= most:  # type: ignore[call-overload]
        raise RulesError(f"{name} is {'true or false' if kind is bool else f'{least} to {most}'}, not {value!r}")


@dataclass(frozen=True, slots=True)
class Move:
    """One ply: what is written (`P2,6*3`) and its packed number. Equal when written alike; it belongs to a position."""

    text: str
    bits: int = field(compare=False)
    """32 bits, made by the core for the position that listed the move"""

    def __str__(self) -> str:
        return self.text

    def __int__(self) -> int:
        return self.bits

    def __repr__(self) -> str:
        return f"Move({self.text!r})"


@dataclass(frozen=True)
class Outcome:
    """How a game ended."""

    winner: int
    """seat, from 1"""
    reason: str
    """`ring_elimination`, `territory_control`, `last_player_standing` or `lps_rounds`"""
    detail: str
    """`threshold`, `sole_material`, `lps_rounds`, or `stalemate_…` for the rungs of the bare-board ladder"""
    ranks: tuple[int, ...]  # [P]
    """rank of each seat, 1 the winner's; equal seats share a rank and the next rank skips (rules section 16)"""


class Score(NamedTuple):
    """What a seat has (rules section 2). Numbers of rings, cells, rings, rings, stacks and markers."""

    hand: int
    elim: int
    terr: int
    rings: int
    """rings of the seat's colour on the board"""
    stacks: int
    """stacks that the seat controls"""
    markers: int


class LegalMoves(Sequence[Move]):
    """The legal moves of a game as it stands: a view, worked out when asked.

    It lists what FORMAT lists: a recovery slide that costs a ring stands once, without the stack it is paid from.
    `in` also accepts text, and such a slide with one of its stacks (`R3,3>3,4:F@5,5`), since that can be played.
    """

    def __init__(self, game: "Game") -> None:
        self._game = game

    def __len__(self) -> int:
        return len(self._game.legal_packed())

    def __iter__(self) -> Iterator[Move]:
        return map(Move, self._game.move_texts(False), self._game.legal_packed().tolist())

    @overload
    def __getitem__(self, index: int) -> Move: ...
    @overload
    def __getitem__(self, index: slice) -> list[Move]: ...
    def __getitem__(self, index: int | slice) -> Move | list[Move]:
        if isinstance(index, slice):
            return list(self)[index]
        return self._game.move(int(self._game.legal_packed()[index]))

    def __contains__(self, move: object) -> bool:
        text, at, cell = str(move).partition("@")
        texts = self._game.move_texts(False)
        if not isinstance(move, Move | str) or text not in texts:
            return False
        return not at or cell in self._game._extractions(int(self._game.legal_packed()[texts.index(text)]))

    def __repr__(self) -> str:
        return f"<{len(self)} legal moves: {', '.join(map(str, self[:8]))}{', …' if len(self) > 8 else ''}>"


def in_words(*names: str) -> Callable[[type[T]], type[T]]:
    """Lets the public methods that a class has from the core, and those named, refuse wrong arguments in a sentence."""

    def worded(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*given: Any, **named: Any) -> Any:
            try:
                return method(*given, **named)
            except TypeError as error:
                raise TypeError(_sentence(str(error))) from None

        return call

    def change(kind: type[T]) -> type[T]:
        core = kind.__mro__[1]
        for name, method in vars(core).items():
            if callable(method) and name not in vars(kind) and (not name.startswith("_") or name in names):
                setattr(kind, name, worded(method))
        return kind

    return change


def _sentence(said: str) -> str:
    """What the core says of wrong arguments, which lists signatures, in one line."""
    name, _, rest = said.partition("(): incompatible function arguments.")
    takes, given = re.search(r"\(self,? ?(.*?)\) ->", rest), re.search(r"Invoked with types: [^,]*,? ?(.*)", rest)
    if not rest or takes is None:
        return said
    kinds = re.sub(r"ndarray\[dtype=(\w+)[^\]]*\]", r"an array of \1", takes[1])
    return f"{name.lstrip('_')} takes ({kinds}), not ({given[1] if given else ''})"


@in_words("_transform", "_text_of", "_push_move")
class Game(_core.Game):
    """A game of RingRift: a position and the plies that led to it.

    >>> game = Game("square8_2p")
    >>> len(game.legal_moves), game.to_move, game.phase.name
    (192, 1, 'RING_PLACEMENT')
    >>> game.push("P2,6*3")
    >>> game.outcome() is None
    True

    Games are equal when everything that decides their future is equal, whatever plies led there. A game changes, so it
    has no hash: use `key`.
    """

    def __init__(self, config: str = "square8_2p", options: Options | None = None) -> None:
        config_info(config)
        options = checked_options(options)
        super().__init__(config, options.swap_rule, options.rings_per_player or 0, options.lps_rounds)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Sets up a position text (docs/formats.md).

        Raises:
            InvalidNotation: the text cannot be read, or its position cannot be.
        """
        return cls._adopt(_core.Game._from_text(_plain(text)))

    @classmethod
    def from_canonical(cls, config: str, canonical: str, options: Options | None = None) -> Self:
        """Sets up a canonical state string; the turn in progress and the tracker have no history."""
        config_info(config)
        o = checked_options(options)
        core = _core.Game._from_canonical(config, o.swap_rule, o.rings_per_player or 0, o.lps_rounds, _plain(canonical))
        return cls._adopt(core)

    @classmethod
    def _adopt(cls, core: _core.Game) -> Self:
        game = cls.__new__(cls)
        _core.Game.__init__(game, core)
        return game

    @property
    def options(self) -> Options:
        """Options of the game."""
        swap_rule, rings, lps_rounds = self._options
        return Options(swap_rule, rings or None, lps_rounds)

    @property
    def phase(self) -> Phase:
        """Where in its turn the seat to move is."""
        return Phase(self._phase)

    @property
    def moves(self) -> tuple[Move, ...]:
        """The plies played since the game was set up."""
        return tuple(map(Move, self.played_texts(), self.moves_packed().tolist()))

    @property
    def legal_moves(self) -> LegalMoves:
        """The legal moves as the game stands."""
        return LegalMoves(self)

    def playable_moves(self) -> list[Move]:
        """The legal moves with every slide that costs a ring expanded into one move for each stack that can pay it.

        Search, policies and records count over this list, in its order.
        """
        return list(map(Move, self.move_texts(True), self.playable_packed().tolist()))

    def extractions(self, move: Move | str) -> list[str]:
        """Cells of the stacks that can pay for a recovery slide, by x then y; empty for a move that costs no ring."""
        text, texts = str(move).partition("@")[0], self.move_texts(False)
        if text not in texts:
            self.parse_packed(_plain(text))  # says what is wrong
        return self._extractions(int(self.legal_packed()[texts.index(text)]))

    def move(self, bits: int) -> Move:
        """The legal or playable move of a packed number."""
        return Move(self._text_of(bits), bits)

    def parse_move(self, text: str) -> Move:
        """Reads a move; a slide that costs a ring gets its stack where only one can pay.

        Raises:
            InvalidNotation: not a move at all.
            IllegalMove: not legal now, or several stacks could pay.
        """
        return self.move(self.parse_packed(_plain(text)))

    def push(self, move: Move | str) -> None:
        """Plays one ply, and never a second one.

        Raises:
            InvalidNotation: not a move at all.
            IllegalMove: not legal now, or several stacks could pay; the game stays as it was.
        """
        if isinstance(move, Move):
            self._push_move(move.bits, move.text)
        else:
            self.push_text(_plain(move))

    def pop(self) -> Move:
        """Takes the last ply back and returns it."""
        bits = self.pop_packed()
        return self.move(bits)

    def advance_forced(self) -> list[Move]:
        """Plays on while there is exactly one move to choose, and returns what was played."""
        played = []
        while len(moves := self.playable_packed()) == 1:
            played.append(self.move(int(moves[0])))
            self.push_packed(int(moves[0]))
        return played

    def outcome(self) -> Outcome | None:
        """How the game ended; None while it goes on."""
        if (result := self._result()) is None:
            return None
        winner, reason, detail, ranks = result
        return Outcome(winner, reason, detail, tuple(ranks))

    @property
    def ranks(self) -> tuple[int, ...] | None:  # [P]
        """Ranks of the seats, 1 the winner's; None while the game goes on."""
        outcome = self.outcome()
        return outcome.ranks if outcome else None

    def scores(self) -> tuple[Score, ...]:  # [P]
        """What each seat has."""
        return tuple(Score(*row) for row in self._scores())

    def canonical_hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical state string."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def check_invariants(self) -> None:
        """Raises RulesError if rings appeared or vanished, two things lie on one cell or a counter is wrong."""
        if violation := self._violation():
            raise RulesError(f"unsound position: {violation}; {self.text()}")

    def transform(self, symmetry: int) -> Self:
        """The position, without its plies, through a symmetry of the board: 0 to 7 on squares, 0 to 11 on hexagons.

        Square: `symmetry % 4` quarter turns, after a reflection for 4 and more; hexagons the same with 6.
        """
        return self._adopt(self._transform(symmetry))

    def transform_move(self, move: Move, symmetry: int) -> Move:
        """A playable move of this game as a move of `transform(symmetry)`."""
        if not isinstance(move, Move):
            raise RulesError(f"a Move of playable_moves() is right, not {reprlib.repr(move)}")
        return self.transform(symmetry).move(self._transform_move(move.bits, symmetry))

    def legal_text(self) -> str:
        """All legal moves, sorted and joined with vertical bars, as FORMAT's `L`."""
        return "|".join(sorted(self.move_texts(False)))

    def perft(self, depth: int) -> int:
        """Number of sequences of `depth` playable moves."""
        if type(depth) is not int or not 0 <= depth < 256:
            raise RulesError(f"depth is {reprlib.repr(depth)}; 0 to 255 plies are right")
        return super().perft(depth)

    def divide(self, depth: int) -> dict[str, int]:
        """`perft` of each playable move apart; `depth` is 1 or more."""
        if type(depth) is not int or depth < 1:
            raise RulesError(f"depth is {reprlib.repr(depth)}; 1 ply or more is right")
        found, ahead = dict[str, int](), self.copy()
        for move in self.playable_moves():
            ahead.push(move)
            found[move.text] = ahead.perft(depth - 1)
            ahead.pop()
        return found

    def copy(self) -> Self:
        """Another game with the same position and plies."""
        return self._adopt(self)

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.start_text(), self.moves_packed().tobytes())

    def __eq__(self, other: object) -> bool:
        return self.text() == other.text() if isinstance(other, _core.Game) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Game.parse({self.text()!r})"

    def ascii(self, colour: bool = False) -> str:
        """The board drawn with letters, for a terminal."""
        from ringrift.rules.render import ascii_board

        return ascii_board(self, colour=colour)

    def __str__(self) -> str:
        return self.ascii()

    def _repr_svg_(self) -> str:
        from ringrift.rules.render import svg

        return svg(self)


def _rebuilt(cls: type[Game], start: str, moves: bytes) -> Game:
    """A pickled game."""
    game = cls.parse(start)
    game.push_all_packed(np.frombuffer(moves, np.uint32))
    return game


@in_words()
class GameBatch(_core.GameBatch):
    """Many games of one config without their history, advanced together; the GIL is released."""

    def __init__(self, config: str, size: int, options: Options | None = None) -> None:
        config_info(config)
        o = checked_options(options)
        if type(size) is not int or not 1 <= size < 2**31:
            raise RulesError(f"a batch has 1 game or more, not {reprlib.repr(size)}")
        super().__init__(config, size, o.swap_rule, o.rings_per_player or 0, o.lps_rounds)

    def game(self, i: int) -> Game:
        """Game i as it stands, without its plies."""
        return Game.parse(self.text(i))
