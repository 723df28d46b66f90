"""`/api/replay`: stored games to look at, and finished games of people to be stored.

A game of people waits, like any other, until the loop's validation has played it again in another process; before that
it is in no rating and no training. Its provenance is the worker `web`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from ringrift.errors import RulesError, unknown
from ringrift.fabric.workers import process_name
from ringrift.players.ladder import LEVELS
from ringrift.rules import CONFIGS, Game, Record, config_info
from ringrift.rules.record import EARLY
from ringrift.store.browse import Seen, Totals, Wanted, browse, look
from ringrift.store.games import GameRow, GameStore
from ringrift.store.provenance import Provenance
from ringrift.store.retold import Recorded, play_again, unix_time
from ringrift.store.schema import SCHEMA, content_id
from ringrift.web.errors import Refused
from ringrift.web.reading import BodyRoute, game_of
from ringrift.web.service import Service
from ringrift.wire import SIZES, is_ended, write_moves, write_state

WORKER = "web"
#: What names a game: one of people by the name that it was stored under, any other `game-NUMBER`.
NAME = r"[\w.:-]{1,128}"
OURS = "game-"
STORIES = 16  #: games that stay played through
LISTED = 4096  #: games of which it stays known what is listed
LARGEST = 2**62  #: of numbers in a question
MADE_UP = 10_000  #: bytes of `metadata` and of `choices` that are kept of a game

Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Stored = Annotated[str, Path(description="as the list of games tells it", examples=["game-1"])]
Filter = Annotated[int | None, Query(ge=0, le=LARGEST)]


class NewGame(BaseModel):
    """A finished game. The boards of its states may be empty: the moves tell everything."""

    gameId: Name | None = None  # noqa: N815 - the names of the contract
    initialState: dict[str, Any]  # noqa: N815
    finalState: dict[str, Any]  # noqa: N815
    moves: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)
    choices: list[dict[str, Any]] = Field([], max_length=1000)
    metadata: dict[str, Any] = {}


@dataclass(frozen=True)
class Story:
    """A game played through."""

    record: Record
    moves: list[dict[str, Any]]  # [plies]
    """as `Move` objects"""
    phases: list[str]  # [plies]
    turns: list[int]  # [plies]
    """number of the turn that a ply is of, from 0"""
    finals: list[dict[str, int]]  # [P]

    @classmethod
    def of(cls, record: Record) -> Story:
        """Raises `DataError` where it does not replay."""
        played, game, moves, phases = record.replay(), _first(record), list[dict[str, Any]](), list[str]()
        seats: list[int] = []
        for number, move in enumerate(played.moves, 1):
            seats.append(game.to_move)
            phases.append(game.phase.name.lower())
            moves += [{"id": f"move-{number}", **one, "moveNumber": number} for one in write_moves(game, [move])]
            game.push(move)
        turns = [0] * len(seats)
        for ply in range(1, len(seats)):
            turns[ply] = turns[ply - 1] + (seats[ply] != seats[ply - 1])
        finals = [{"finalEliminatedRings": one.elim, "finalTerritorySpaces": one.terr, "finalRingsInHand": one.hand}
                  for one in played.scores()]  # fmt: skip
        for one, when in zip(moves, _times(record), strict=False):
            one |= {"timestamp": when[0], "thinkTime": when[1]}
        return cls(record, moves, phases, turns, finals)

    def told(self, ply: int) -> dict[str, Any]:
        """A ply, with what the search that made it believed: the winning probability of the seat that moves."""
        move, search, value = self.moves[ply], self.record.search, None
        if (
            search is not None
            and (found := search.ply.searchsorted(ply)) < len(search.ply)
            and search.ply[found] == ply
        ):
            value = round(float(search.root_value[found][move["player"] - 1]), 4)
        return {
            "moveNumber": ply, "turnNumber": self.turns[ply], "player": move["player"], "phase": self.phases[ply],
            "moveType": move["type"], "move": move, "timestamp": move.get("timestamp"),
            "thinkTimeMs": move.get("thinkTime"), "timeRemainingMs": None, "engineEval": value,
            "engineEvalType": None if value is None else "win_probability", "engineDepth": None, "engineNodes": None,
            "enginePV": None, "engineTimeMs": None,
        }  # fmt: skip


def router(service: Service) -> APIRouter:
    """Its endpoints. Without a run there are no games, and none can be stored (503)."""
    routes = APIRouter(prefix="/api/replay", tags=["replay"], route_class=BodyRoute)
    run = service.run
    totals = Totals(run) if run else None

    @lru_cache(STORIES)
    def story(id_: int) -> Story:
        assert run is not None
        seen = look(run, id_)
        assert seen is not None  # games are never deleted unless they are quarantined
        return Story.of(Record.from_bytes(seen.record))

    @lru_cache(LISTED)
    def inside(id_: int) -> tuple[int, Mapping[str, Any]]:
        """What a game's row does not tell: its turns, and what a game of people brought with it."""
        assert run is not None
        seen = look(run, id_)
        assert seen is not None
        record = Record.from_bytes(seen.record)
        return _turns(record), record.meta if seen.work_id.startswith(f"{WORKER}/") else {}

    def found(name: str) -> Seen:
        own = name.removeprefix(OURS)
        number = int(own) if own != name and own.isdecimal() and len(own) < 19 else None
        seen = None if run is None else look(run, f"{WORKER}/{name}" if number is None else number)
        if seen is None:
            raise Refused(404, f"Game {name[:128]} not found")
        return seen

    @routes.get("/games")
    def games(
        board_type: str | None = None,
        num_players: Annotated[int | None, Query(ge=2, le=4)] = None,
        winner: Annotated[int | None, Query(ge=1, le=4)] = None,
        termination_reason: str | None = None,
        source: str | None = None,
        min_moves: Filter = None,
        max_moves: Filter = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    ) -> dict[str, Any]:
        """Stored games, newest first; `total` counts up to 100,000. `source` is `selfplay`, `import`, or what the game
        said when it was stored."""
        if board_type is not None and board_type not in SIZES:
            raise Refused(400, unknown("board", board_type[:40], SIZES))
        configs = [config for config in CONFIGS if _fits(config, board_type, num_players)]
        if run is None:
            return {"games": [], "total": 0, "hasMore": False}
        wanted = Wanted(configs, winner, termination_reason, source, min_moves, max_moves)
        seen, total = browse(run, wanted, limit, offset)
        return {
            "games": [_meta(one, *inside(one.id)) for one in seen],
            "total": total,
            "hasMore": offset + len(seen) < total,
        }

    @routes.get("/games/{name}")
    def game(name: Stored) -> dict[str, Any]:
        """One game, with its players."""
        seen = found(name)
        finals = story(seen.id).finals
        players = [_player(seat, engine) | finals[seat - 1] for seat, engine in enumerate(_engines(seen), 1)]
        return _meta(seen, *inside(seen.id)) | {"players": players}

    @routes.get("/games/{name}/state")
    def state(name: Stored, move_number: Annotated[int, Query(ge=0, le=LARGEST)] = 0) -> dict[str, Any]:
        """The position after so many moves; 0 is the first one."""
        told = story(found(name).id)
        if move_number > (total := len(told.moves)):
            raise Refused(400, f"Move number {str(move_number)[:20]} exceeds total moves {total}")
        position = _first(told.record)
        for move in told.record.replay().moves[:move_number]:
            position.push(move)
        value = told.told(move_number)["engineEval"] if move_number < total else None
        return {
            "gameState": write_state(position, told.moves[:move_number], about={"id": name}),
            "moveNumber": move_number, "totalMoves": total, "engineEval": value, "enginePV": None,
        }  # fmt: skip

    @routes.get("/games/{name}/moves")
    def moves(
        name: Stored,
        start: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
        end: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        """Its moves from `start` to before `end`, numbered from 0."""
        told = story(found(name).id)
        last = len(told.moves) if end is None else min(end, len(told.moves))
        shown = range(start, min(last, start + limit))
        return {"moves": [told.told(ply) for ply in shown], "hasMore": bool(shown) and shown.stop < len(told.moves)}

    @routes.get("/games/{name}/choices")
    def choices(name: Stored, move_number: Annotated[int, Query(ge=0, le=LARGEST)]) -> dict[str, Any]:
        """The choices that were stored with a move of a game of people."""
        kept = _kept(inside(found(name).id)[1], "choices", [])
        return {"choices": [
            {"choiceType": one.get("choice_type"), "player": one.get("player"), "options": one.get("options", []),
             "selected": one.get("selected", one.get("selected_option")), "reasoning": one.get("reasoning")}
            for one in kept if one.get("move_number") == move_number
        ]}  # fmt: skip

    @routes.get("/stats")
    def stats() -> dict[str, Any]:
        """How many games there are, and of what kind."""
        boards, plies = Counter[str](), 0
        for config, games, moves in totals.counts() if totals else ():
            boards[config_info(config).board] += games
            plies += moves
        total, ends = boards.total(), totals.ends() if totals else {}
        return {
            "totalGames": total, "gamesByBoardType": boards, "gamesByStatus": {"completed": total} if total else {},
            "gamesByTermination": ends, "totalMoves": plies, "schemaVersion": max(SCHEMA),
        }  # fmt: skip

    @routes.post("/games")
    def store(body: NewGame) -> dict[str, Any]:
        """Stores a finished game of people, once: its moves are played again, and have to end as its states say."""
        if run is None:
            raise Refused(503, "this service has no store: it was started without a run")
        record, source, created = _recorded(body)
        name = body.gameId or f"{WORKER}-{content_id(record)}"
        made = Provenance(WORKER, process=process_name())
        origin = {"source": source, "game": name}
        row = GameRow.of(record, record.to_bytes(), f"{WORKER}/{name}", made, created=created, origin=origin)
        if not GameStore(run).add_judged([row])[0]:
            known = look(run, row.work_id)
            if known is None or content_id(Record.from_bytes(known.record)) != row.content:
                raise Refused(400, f"another game is stored under the name {name}: choose another gameId, or give none")
        return {"gameId": name, "totalMoves": len(record.moves), "success": True}

    return routes


def _fits(config: str, board: str | None, players: int | None) -> bool:
    info = config_info(config)
    return board in (None, info.board) and players in (None, info.players)


def _recorded(body: NewGame) -> tuple[Record, str, float]:
    """The game as it was played again, its source, and the Unix time of its making. Raises `Refused`."""
    if (body.gameId or "").startswith(OURS):
        raise Refused(400, f"gameId begins with {OURS}, as those of the service's own games do: choose another one")
    first, final, about = body.initialState, body.finalState, body.metadata
    start = game_of(first, ("initialState",))
    if not is_ended(final):
        raise Refused(400, "finalState is of a game that goes on: only finished games are stored")
    seats = [one for one in _typed(final.get("players"), list) or () if isinstance(one, dict)]
    if len(seats) != start.num_seats:
        raise Refused(400, f"finalState has {len(seats)} players, initialState {start.num_seats}")
    told = about.get("players")
    players = [_engine(seat, told[at] if isinstance(told, list) and len(told) == len(seats) else {})
               for at, seat in enumerate(seats)]  # fmt: skip
    end = about.get("termination_reason") or about.get("victoryReason") or ""
    source = about["source"][:40] if isinstance(about.get("source"), str) else WORKER
    created, completed = unix_time(first.get("createdAt")), unix_time(final.get("lastMoveAt"))
    times = [[_typed(one.get("timestamp"), str), _typed(one.get("thinkTime"), int)] for one in body.moves]
    kept = {"created": created, "completed": completed, "times": json.dumps(times)}
    for name, value in (("metadata", about), ("choices", body.choices)):
        if value and len(text := json.dumps(value)) <= MADE_UP:
            kept[name] = text
    seed = first.get("rngSeed")
    recorded = Recorded(
        id=body.gameId or "",
        config=start.config,
        options=start.options,
        moves=[(one.get("player"), one) for one in body.moves],
        start="" if start == Game(start.config, start.options) else start.text(),
        finished=True,
        winner=final["winner"] if type(final.get("winner")) is int and 0 < final["winner"] <= len(seats) else 0,
        end=str(end)[:40],
        finals=tuple(tuple(_typed(one.get(key), int) for key in FINALS) for one in seats),
        players=tuple(players),
        seed=seed if type(seed) is int and 0 <= seed < 2**31 else 0,
        about={name: value for name, value in kept.items() if value is not None},
    )
    try:
        record, problem, _ = play_again(recorded, WORKER)
    except RulesError as error:
        problem = str(error)
    if problem:
        raise Refused(400, f"Invalid game data: {problem[:400]}")
    return record, source, created or 0.0


FINALS = ("eliminatedRings", "territorySpaces", "ringsInHand")


def _typed(value: Any, kind: type) -> Any:
    """A value of that type; None for any other."""
    return value if type(value) is kind else None


def _engine(seat: Mapping[str, Any], told: object) -> str:
    """`human`, `heuristic:3` or `ai`, as the metadata or else the state say."""
    profile, told = _typed(seat.get("aiProfile"), dict) or {}, _typed(told, dict) or {}
    about = {"aiDifficulty": profile.get("difficulty"), "aiType": profile.get("aiType"), **seat, **told}
    if "human" in (about.get("playerType"), about.get("type")):
        return "human"
    name, level = about["aiType"], about["aiDifficulty"]
    known = name if isinstance(name, str) and re.fullmatch(r"\w{1,40}", name) else "ai"
    return f"{known}:{level}" if type(level) is int and level in LEVELS else known


def _meta(seen: Seen, turns: int, brought: Mapping[str, Any]) -> dict[str, Any]:
    """`GameMeta` without its players."""
    info = config_info(seen.config)
    name = seen.work_id.removeprefix(f"{WORKER}/")
    web = name != seen.work_id
    done = brought.get("completed") if web else seen.created
    about = _kept(brought, "metadata", None) if web else {
        "model": seen.model, "generation": seen.generation, "quality": seen.quality}  # fmt: skip
    return {
        "gameId": name if web else f"{OURS}{seen.id}", "boardType": info.board, "numPlayers": info.players,
        "winner": seen.winner or None, "terminationReason": seen.reason.removeprefix(EARLY) or None,
        "totalMoves": seen.plies, "totalTurns": turns, "createdAt": _iso(seen.created),
        "completedAt": _iso(float(done)) if done else None,
        "durationMs": round(1000 * (float(done) - seen.created)) if web and done else None,
        "source": seen.source, "timeControlType": None, "initialTimeMs": None, "timeIncrementMs": None,
        "metadata": about, "players": None,
    }  # fmt: skip


def _engines(seen: Seen) -> tuple[str, ...]:
    seats = config_info(seen.config).players
    return (*seen.engines, *("",) * seats)[:seats]


def _player(seat: int, engine: str) -> dict[str, Any]:
    name, _, level = engine.partition(":")
    human = name == "human"
    return {"playerNumber": seat, "playerType": "human" if human else "ai", "aiType": None if human else name or None,
            "aiDifficulty": int(level) if level.isdecimal() and len(level) < 3 else None}  # fmt: skip


def _first(record: Record) -> Game:
    return Game.parse(record.start) if record.start else Game(record.config, record.options)


def _turns(record: Record) -> int:
    """How often the seat to move changed, and the first turn."""
    game, turns, seat = _first(record), 0, 0
    for bits in record.moves.tolist():
        turns, seat = turns + (game.to_move != seat), game.to_move
        game.push_packed(bits)
    return turns


def _times(record: Record) -> list[list[Any]]:
    return list(_kept(record.meta, "times", []))


def _kept(brought: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    """What a game of people brought with it; records of others have no such text."""
    return json.loads(str(brought[name])) if name in brought else otherwise


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
