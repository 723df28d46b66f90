"""Finished games as they are kept and sent: `Record`, in a compact binary form and as a line of JSON.

Both forms are described in docs/formats.md. A record holds the moves and what search found at them; everything else
follows by replaying it, which is also how it is checked.
"""

import json
import reprlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ringrift.errors import CorruptBlob, FormatTooNew, IllegalMove, InvalidNotation, RulesError
from ringrift.rules.config import config_info
from ringrift.rules.game import Game, Options, Outcome
from ringrift.texts import SHOWN, read_json, why

FORMAT = 2
MAGIC = b"RRGAME"
#: magic, format, CRC-32 of the body, bytes of the body
HEAD = struct.Struct("<6sHII")
#: Longest body after unpacking: far above any game, so that a forged length cannot exhaust the memory.
#: What a record raises in which something is missing, or of another type.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError)
LONGEST_BODY = 1 << 28
#: Text that bodies have in common, known to packer and unpacker alike; part of format 1.
COMMON = (
    b'"swapRuleEnabled":true"ringsPerPlayer":"lpsRoundsRequired":territory_controllast_player_standinglps_rounds'
    b'"random""heuristic""gumbel""initial""best"m-0123456789abcdefhexagonal_square19_hex8_square8_4p_3p_2p'
    b'{"config":"square8_2p","options":{},"start":"","winner":1,"reason":"ring_elimination","ranks":[1,2],'
    b'"final_hash":"","seed":,"players":["",""],"meta":{},"plies":,"decisions":0,"policy":0}'
)
Meta = Mapping[str, str | int | float]
EARLY = "early_"  #: before the reason of a game that ended at a move within a turn, by the rule of the earlier service


@dataclass(frozen=True, eq=False)
class SearchStats:
    """What search found at the plies where it was asked: D decisions, each with A playable moves."""

    ply: npt.NDArray[np.int32]  # [D]
    """ply of each decision, from 0 at the start of the record"""
    offsets: npt.NDArray[np.int32]  # [D + 1]
    """decision d has the policy entries [offsets[d], offsets[d + 1])"""
    policy: npt.NDArray[np.float16]  # [sum A]
    """improved policy over the playable list of each decision, in the list's order"""
    root_value: npt.NDArray[np.float16]  # [D, P]
    """probability of winning by absolute seat, as the search saw it"""
    full: npt.NDArray[np.uint8]  # [D]
    """1 where the search was a full one and its policy is worth learning"""
    surprise: npt.NDArray[np.float16] | None = None  # [D]
    """KL divergence in nats of the policy from the network's own; none where nobody noted it"""

    def __post_init__(self) -> None:
        kinds = {"ply": np.int32, "offsets": np.int32, "policy": np.float16, "root_value": np.float16, "full": np.uint8}
        for name, kind in kinds.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), kind))
        if self.surprise is not None:
            object.__setattr__(self, "surprise", np.ascontiguousarray(self.surprise, np.float16))
        d = len(self.ply)
        sound = (
            (self.surprise is None or self.surprise.shape == (d,))
            and self.offsets.shape == (d + 1,)
            and self.full.shape == (d,)
            and len(self.root_value) == d
        )
        if not sound or self.root_value.ndim != 2 or self.policy.ndim != 1:
            raise RulesError("search statistics of a record have arrays of different lengths")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.policy) or (np.diff(self.offsets) < 0).any():
            raise RulesError("search statistics of a record have offsets that do not fit their policies")


@dataclass(frozen=True, eq=False)
class Record:
    """A game from its start to its end. Records are equal when their binary forms are."""

    config: str
    options: Options
    start: str
    """position text of the start; empty for the initial position"""
    moves: npt.NDArray[np.uint32]  # [plies]
    """packed playable moves"""
    winner: int
    """seat, from 1; 0 when the game was not finished"""
    reason: str
    """as in `Outcome`; empty when the game was not finished; with `early_` before it where it ended within a turn"""
    ranks: tuple[int, ...]  # [P]
    """as in `Outcome`; empty when the game was not finished"""
    final_hash: str
    """16 hex digits: hash of the canonical state at the end"""
    seed: int
    """what the choices of the players were drawn from"""
    players: tuple[str, ...]  # [P]
    """name of a player or id of a model, per seat"""
    meta: Meta = field(default_factory=dict)
    """whatever else the producer wants to keep"""
    search: SearchStats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "moves", np.ascontiguousarray(self.moves, np.uint32))
        seats = config_info(self.config).players
        if len(self.players) != seats:
            raise RulesError(f"a record of {self.config} names {seats} players, not {len(self.players)}")
        if self.search is not None and self.search.root_value.shape[1] != seats:
            raise RulesError(f"search statistics of {self.config} have values of {seats} seats")

    @classmethod
    def from_game(
        cls,
        game: Game,
        *,
        seed: int,
        players: Sequence[str],
        meta: Meta | None = None,
        search: SearchStats | None = None,
    ) -> Self:
        """The record of a game as it stands, with the plies since it was set up."""
        if not isinstance(game, Game):
            raise RulesError(f"a record is made of a Game, not of {reprlib.repr(game)}")
        start, outcome = game.start_text(), game.outcome()
        return cls(
            config=game.config,
            options=game.options,
            start="" if start == Game(game.config, game.options).text() else start,
            moves=game.moves_packed(),
            winner=outcome.winner if outcome else 0,
            reason=outcome.reason if outcome else "",
            ranks=outcome.ranks if outcome else (),
            final_hash=game.canonical_hash(),
            seed=seed,
            players=tuple(players),
            meta=dict(meta or {}),
            search=search,
        )

    def replay(self) -> Game:
        """The game at its end.

        Raises:
            CorruptBlob: a move is not legal where it stands, or the end is another than the recorded one.
        """
        game = self._first()
        try:
            game.push_all_packed(self.moves)
        except IllegalMove as error:
            raise CorruptBlob(f"the record does not replay: {error}") from error
        if (found := game.canonical_hash()) != self.final_hash:
            raise CorruptBlob(f"the record replays to the state {found}, not to {self.final_hash[:60]}")
        outcome = early_outcome(game) if self.reason.startswith(EARLY) else game.outcome()
        ours = (outcome.winner, outcome.reason, outcome.ranks) if outcome else (0, "", ())
        if ours != (self.winner, self.reason, self.ranks):
            said = str((self.winner, self.reason, self.ranks))[:SHOWN]
            raise CorruptBlob(f"the record says {said}, its moves end with {ours}")
        return game

    def _first(self) -> Game:
        if not self.start:
            return Game(self.config, self.options)
        try:
            game = Game.parse(self.start)
        except InvalidNotation as error:
            raise CorruptBlob(f"the start of the record cannot be read: {why(error)}") from error
        if (game.config, game.options) != (self.config, self.options):
            raise CorruptBlob("the start of the record is of another config or has other options than the record")
        return game

    def _header(self) -> dict[str, Any]:
        names = ("config", "start", "winner", "reason", "ranks", "final_hash", "seed", "players", "meta")
        return {name: getattr(self, name) for name in names} | {"options": self.options.to_dict()}

    @classmethod
    def _from_header(cls, head: dict[str, Any], moves: npt.NDArray[np.uint32], search: SearchStats | None) -> Self:
        """Raises KeyError, TypeError or ValueError for a header that is not one."""
        kinds = {
            "config": str,
            "start": str,
            "winner": int,
            "reason": str,
            "final_hash": str,
            "seed": int,
            "meta": dict,
        }
        for name, kind in kinds.items():
            if type(head[name]) is not kind:
                raise TypeError(f"{name} is {head[name]!r}")
        return cls(
            **{name: head[name] for name in kinds},
            options=Options.from_dict(head["options"]),
            ranks=tuple(int(rank) for rank in head["ranks"]),
            players=tuple(str(player) for player in head["players"]),
            moves=moves,
            search=search,
        )

    @property
    def format(self) -> int:
        """2 with surprises, which format 1 does not know; else 1."""
        return 2 if self.search is not None and self.search.surprise is not None else 1

    def to_bytes(self) -> bytes:
        """The compact form: the head, then a compressed body of a header, the moves by field, and the search."""
        parts: list[npt.NDArray[Any]] = list(split_moves(self.moves))
        head = self._header() | {"plies": len(self.moves)}
        if self.search is not None:
            s = self.search
            head |= {"decisions": len(s.ply), "policy": len(s.policy)}
            parts += [np.diff(s.ply, prepend=np.int32(0)), np.diff(s.offsets), s.policy, s.root_value, s.full]
            if s.surprise is not None:
                head["surprise"] = True
                parts.append(s.surprise)
        text = json.dumps(head, separators=(",", ":")).encode()
        packer = zlib.compressobj(9, zdict=COMMON)
        plain = struct.pack("<I", len(text)) + text + b"".join(part.tobytes() for part in parts)
        body = packer.compress(plain) + packer.flush()
        return HEAD.pack(MAGIC, self.format, zlib.crc32(body), len(body)) + body

    @classmethod
    def from_bytes(cls, blob: bytes) -> Self:
        """Reads the compact form. The moves are not replayed: `replay` does that.

        Raises:
            CorruptBlob: not a record, truncated or changed.
            FormatTooNew: written by a later version.
        """
        if len(blob) < HEAD.size or not blob.startswith(MAGIC):
            raise CorruptBlob(
                f"not a game record: it does not begin with {MAGIC.decode()} and a head of {HEAD.size} bytes"
            )
        _, version, checksum, size = HEAD.unpack_from(blob)
        if version > FORMAT:
            raise FormatTooNew(f"the record has format {version}; this version reads up to {FORMAT}: update ringrift")
        body = blob[HEAD.size :]
        if len(body) != size:
            raise CorruptBlob(f"the record has a body of {len(body)} bytes, but its head says {size}: it is truncated")
        if zlib.crc32(body) != checksum:
            raise CorruptBlob("the record was changed: its checksum does not fit")
        try:
            unpacker = zlib.decompressobj(zdict=COMMON)
            plain = unpacker.decompress(body, LONGEST_BODY)
            if not unpacker.eof:
                raise ValueError("the body does not end")
            return cls._from_body(plain)
        except (zlib.error, struct.error, *UNREADABLE) as error:
            raise CorruptBlob(f"the body of the record cannot be read: {why(error)}") from error

    @classmethod
    def _from_body(cls, plain: bytes) -> Self:
        at = 4 + struct.unpack_from("<I", plain)[0]
        head = read_json(plain[4:at])

        def take(kind: Any, count: int) -> npt.NDArray[Any]:
            nonlocal at
            found = np.frombuffer(plain, kind, count, at)  # ValueError where the body is too short
            at += found.nbytes
            return found

        types = take(np.uint8, head["plies"])
        moves = join_moves(types, take(np.uint8, 5 * int((types >= 32).sum())))
        search = None
        if "decisions" in head:
            d, seats = head["decisions"], len(head["players"])
            ply, lengths = np.cumsum(take("<i4", d)), take("<i4", d)
            offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
            policy, values, full = take("<f2", head["policy"]), take("<f2", d * seats), take(np.uint8, d)
            surprise = take("<f2", d) if head.get("surprise") else None
            search = SearchStats(ply, offsets, policy, values.reshape(d, seats), full, surprise)
        if at != len(plain):
            raise ValueError(f"{len(plain) - at} bytes too many")
        return cls._from_header(head, moves, search)

    def to_json(self) -> str:
        """One line of JSON with the moves as text.

        Raises:
            CorruptBlob: the record does not replay.
        """
        moves = [move.text for move in self.replay().moves]
        document: dict[str, Any] = {"format": self.format} | self._header() | {"moves": moves}
        if (s := self.search) is not None:
            policies = [s.policy[a:b].tolist() for a, b in zip(s.offsets, s.offsets[1:], strict=False)]
            values = {"root_value": s.root_value.tolist(), "full": s.full.tolist()}
            known = {} if s.surprise is None else {"surprise": s.surprise.tolist()}
            document["search"] = {"ply": s.ply.tolist(), "policy": policies} | values | known
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Reads a line of JSON; the moves are replayed, since their text needs the position.

        Raises:
            CorruptBlob: not a record, or it does not replay.
            FormatTooNew: written by a later version.
        """
        try:
            document = read_json(line)
            if type(version := document["format"]) is int and version > FORMAT:
                raise FormatTooNew(
                    f"the record has format {version}; this version reads up to {FORMAT}: update ringrift"
                )
            search = None
            if (s := document.get("search")) is not None:
                offsets = np.cumsum([0, *map(len, s["policy"])])
                flat = [share for policy in s["policy"] for share in policy]
                values = np.array(s["root_value"], np.float16).reshape(len(s["ply"]), len(document["players"]))
                search = SearchStats(s["ply"], offsets, np.array(flat), values, s["full"], s.get("surprise"))
            record = cls._from_header(document, np.zeros(0, np.uint32), search)
            game = record._first()
            for ply, text in enumerate(document["moves"]):
                try:
                    game.push(text)
                except RulesError as error:
                    raise CorruptBlob(f"the record does not replay: ply {ply}: {error}") from error
        except UNREADABLE as error:
            raise CorruptBlob(f"the line is not a game record: {why(error)}") from error
        return cls._from_header(document, game.moves_packed(), search)

    def __eq__(self, other: object) -> bool:
        return self.to_bytes() == other.to_bytes() if isinstance(other, Record) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.config, self.seed, self.final_hash))


def early_outcome(game: Game) -> Outcome | None:
    """How a game that is not over ended for the earlier service, which looked after every move and not only when a
    turn ends: by the counters, or else as the turn would end if nothing is left in it but moves without action.

    Seats other than the winner that have equal territory, eliminated rings and markers share a rank.
    """
    if game.is_over:
        return None
    info, scores, seats = config_info(game.config), game.scores(), range(game.num_seats)
    rings = game.options.rings_per_player
    needed = info.victory_threshold if rings is None else (2 * rings * (info.players + 1) + 3) // 6
    ends: list[tuple[str, list[int]]] = [
        ("ring_elimination", [seat for seat in seats if scores[seat].elim >= needed]),
        (
            "territory_control",
            [s for s in seats if scores[s].terr >= max(info.territory_minimum, sum(r.terr for r in scores) // 2 + 1)],
        ),
    ]
    alive = [seat for seat in seats if scores[seat].hand or scores[seat].rings]
    if len(alive) == 1 and scores[alive[0]].stacks:
        ends.append(("last_player_standing", alive))
    for reason, winners in ends:
        if winners:
            winner = winners[0]
            order = [(seat != winner, -scores[seat].terr, -scores[seat].elim, -scores[seat].markers) for seat in seats]
            ranks = tuple(1 + sum(other < own for other in order) for own in order)
            return Outcome(winner + 1, EARLY + reason, "threshold", ranks)
    ahead, seat = game.copy(), game.to_move
    while ahead.to_move == seat and (moves := ahead.move_texts(True)) in (["NM"], ["NL"], ["NT"]):
        ahead.push(moves[0])
    outcome = ahead.outcome()
    return None if outcome is None else replace(outcome, reason=EARLY + outcome.reason)


def split_moves(moves: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Packed moves as bytes that compress well: a type per ply (+ 32 where it has more fields), then the five field
    columns of those plies one after the other (cell below 256, cell above, a, b, direction and the rest)."""
    more = moves[moves >= 32]
    columns = [more >> 5 & 255, more >> 13 & 3, more >> 15 & 31, more >> 20 & 31, more >> 25]
    types = (moves & 31) + 32 * (moves >= 32)
    return types.astype(np.uint8), np.concatenate(columns).astype(np.uint8)


def join_moves(types: npt.NDArray[np.uint8], fields: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """The inverse of `split_moves`."""
    moves = (types & 31).astype(np.uint32)
    columns = fields.reshape(5, -1).astype(np.uint32)
    shifts = np.array([[5], [13], [15], [20], [25]], np.uint32)
    moves[types >= 32] |= (columns << shifts).sum(axis=0, dtype=np.uint32)
    return moves
