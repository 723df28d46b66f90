"""Databases as the earlier service wrote them, made from games of our own: for tests and for measuring the import."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ringrift.rules import Game, config_info
from ringrift.wire.moves import PLAIN

NAMES = {text: name for name, text in PLAIN.items()} | {
    "P": "place_ring",
    "M": "move_stack",
    "C": "overtaking_capture",
    "K": "continue_capture_segment",
    "R": "recovery_slide",
    "L": "process_line",
    "O": "choose_line_option",
    "T": "choose_territory_option",
    "E": "eliminate_rings_from_stack",
    "F": "forced_elimination",
}
CONTEXTS = {"l": "line", "t": "territory", "r": "recovery"}
MODES = {"L": "line", "F": "fallback", "S": "stack_strike"}
FIELDS = (
    "id type player from to captureTarget capturedStacks captureChain overtakenRings placedOnStack placementCount"
    " stackMoved minimumDistance actualDistance markerLeft lineIndex formedLines collapsedMarkers claimedTerritory"
    " disconnectedRegions recoveryOption recoveryMode collapsePositions extractionStacks eliminatedRings"
    " eliminationContext timestamp thinkTime moveNumber phase"
).split()
SCHEMA = """
CREATE TABLE schema_metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO schema_metadata VALUES ('schema_version', '18');
CREATE TABLE games (
    game_id TEXT PRIMARY KEY, board_type TEXT NOT NULL, num_players INTEGER NOT NULL, rng_seed INTEGER,
    created_at TEXT NOT NULL, completed_at TEXT, game_status TEXT NOT NULL, winner INTEGER, termination_reason TEXT,
    total_moves INTEGER NOT NULL, total_turns INTEGER NOT NULL, source TEXT, schema_version INTEGER NOT NULL,
    metadata_json TEXT, quality_score REAL, engine_mode TEXT
);
CREATE TABLE game_players (
    game_id TEXT NOT NULL, player_number INTEGER NOT NULL, player_type TEXT NOT NULL, ai_type TEXT,
    ai_difficulty INTEGER, final_eliminated_rings INTEGER, final_territory_spaces INTEGER,
    final_rings_in_hand INTEGER, PRIMARY KEY (game_id, player_number)
);
CREATE TABLE game_initial_state (
    game_id TEXT PRIMARY KEY, initial_state_json TEXT NOT NULL, compressed INTEGER DEFAULT 0
);
CREATE TABLE game_moves (
    game_id TEXT NOT NULL, move_number INTEGER NOT NULL, turn_number INTEGER NOT NULL, player INTEGER NOT NULL,
    phase TEXT NOT NULL, move_type TEXT NOT NULL, move_json TEXT NOT NULL, timestamp TEXT, think_time_ms INTEGER,
    PRIMARY KEY (game_id, move_number)
);
"""


def random_game(config: str, seed: int, stop: Callable[[Game], object] = lambda game: False) -> Game:
    """A uniformly random game to its end, or until `stop`."""
    game, rng = Game(config), np.random.default_rng(seed)
    while not game.is_over and not stop(game):
        playable = game.playable_packed()
        game.push_packed(int(playable[rng.integers(len(playable))]))
    return game


def seats(game: Game) -> list[int]:
    """The seat that made each ply."""
    copy, found = Game.parse(game.start_text()), []
    for move in game.moves_packed().tolist():
        found.append(copy.to_move)
        copy.push_packed(move)
    return found


def wire(text: str, seat: int, number: int, *, hexagonal: bool = False, pays: bool = True) -> dict[str, Any]:
    """A move as the earlier service wrote it, with all its fields; slides say which stack `pays`."""

    def cell(given: str) -> dict[str, int | None]:
        x, y = map(int, given.split(","))
        return {"x": x, "y": y, "z": -x - y if hexagonal else None}

    def cells(given: str) -> list[dict[str, int | None]]:
        return [cell(one) for one in given.strip("[]").split(" ")]

    kind = text if text in NAMES else text[0]
    head, _, rest = text[len(kind) :].partition(":")
    about: dict[str, Any] = {"type": NAMES[kind], "player": seat, "to": {"x": 0, "y": 0, "z": None}}
    match kind:
        case "P":
            at, _, count = head.partition("*")
            about |= {"to": cell(at), "placementCount": int(count), "placedOnStack": False}
        case "M" | "C" | "K" | "R":
            begin, over, end = re.match(r"([^x>]+)(?:x([^>]+))?>(.+)", head).groups()  # type: ignore[union-attr]
            about |= {"from": cell(begin), "to": cell(end), "captureTarget": cell(over) if over else None}
            if kind == "R":
                mode, _, payer = rest.partition("@")
                about |= {"recoveryMode": MODES[mode[0]], "extractionStacks": [payer] if payer and pays else []}
                about |= {"recoveryOption": int(mode[1])} if mode[0] == "L" else {}
                about |= {"collapsePositions": cells(mode[2:])} if mode.startswith("L2") else {}
        case "L" | "O":
            line = cells(head)
            chosen = cells(rest) if rest.startswith("[") else line
            about |= {"to": line[0], "formedLines": [{"positions": line, "player": seat, "length": len(line)}]}
            about |= {"collapsedMarkers": chosen} if kind == "O" else {}
        case "T":
            about |= {"to": cells(head)[0], "disconnectedRegions": [{"spaces": cells(head), "isDisconnected": True}]}
        case "E":
            about |= {"to": cell(head), "eliminationContext": CONTEXTS[rest]}
        case "F":
            about |= {"to": cell(head)}
    about |= {"id": "simulated", "timestamp": "2026-03-01T00:00:00.000000", "thinkTime": 0, "moveNumber": number}
    return {name: about.get(name) for name in FIELDS}


def wire_moves(game: Game, *, pays: bool = True) -> list[dict[str, Any]]:
    """All plies of a game."""
    hexagonal = config_info(game.config).is_hex
    plies = zip(game.played_texts(), seats(game), strict=True)
    return [wire(text, seat, n, hexagonal=hexagonal, pays=pays) for n, (text, seat) in enumerate(plies, start=1)]


def initial_state(game: Game) -> dict[str, Any]:
    """The state before the first move, as far as it is read."""
    info, start = config_info(game.config), Game(game.config, game.options)
    empty: dict[str, Any] = {}
    players = [{"playerNumber": seat, "ringsInHand": one.hand} for seat, one in enumerate(start.scores(), start=1)]
    return {
        "id": "self-play",
        "boardType": info.board,
        "board": {"type": info.board, "stacks": empty, "markers": empty, "collapsedSpaces": empty},
        "players": players,
        "rulesOptions": game.options.to_dict(),
        "lpsRoundsRequired": game.options.lps_rounds,
    }


def add_games(
    connection: sqlite3.Connection,
    games: Iterable[Game],
    *,
    first: int = 0,
    moves: Callable[[Game], list[dict[str, Any]]] = wire_moves,
    **columns: Any,
) -> None:
    """Inserts games under the ids `game-0000000` and on; `columns` replace those of the table of games."""
    for number, game in enumerate(games, start=first):
        id_, info, outcome = f"game-{number:07}", config_info(game.config), game.outcome()
        played = moves(game)
        created = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=number)
        row: dict[str, Any] = {
            "game_id": id_,
            "board_type": info.board,
            "num_players": info.players,
            "rng_seed": number,
            "created_at": created.isoformat(),
            "game_status": "completed" if outcome else "active",
            "winner": outcome.winner if outcome else None,
            "termination_reason": outcome.reason if outcome else None,
            "total_moves": len(played),
            "total_turns": 0,
            "source": "selfplay",
            "schema_version": 18,
            "quality_score": 0.5,
            "engine_mode": "random",
        } | columns
        insert(connection, "games", row)
        for seat, score in enumerate(game.scores(), start=1):
            values = (id_, seat, "ai", "random", 1, score.elim, score.terr, score.hand)
            connection.execute("INSERT INTO game_players VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        state = json.dumps(initial_state(game), separators=(",", ":"))
        connection.execute("INSERT INTO game_initial_state VALUES (?, ?, 0)", (id_, state))
        rows = [
            (id_, n, 0, move["player"], "", move["type"], json.dumps(move, separators=(",", ":")), None, 0)
            for n, move in enumerate(played)
        ]
        connection.executemany("INSERT INTO game_moves VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """One row."""
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def write_database(path: Path, games: Iterable[Game], **given: Any) -> Path:
    """A database of games."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
        add_games(connection, games, **given)
    return path


def packed(path: Path) -> Path:
    """The file with gzip, beside it."""
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target
