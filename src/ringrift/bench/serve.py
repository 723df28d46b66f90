"""How fast the service answers: real games played over HTTP against a server process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from ringrift.errors import DataError
from ringrift.rules import Game
from ringrift.wire import read_move, write_moves, write_state

#: Random plies before a game that is measured, and how many such beginnings there are.
OPENING, OPENINGS = 12, 64


class Running(NamedTuple):
    """A server."""

    url: str
    process: subprocess.Popen[str]


@contextmanager
def server(*options: str) -> Iterator[Running]:
    """`ringrift serve` on this machine, with these options; ended with the block."""
    command = [sys.executable, "-m", "ringrift", "serve", "--port", "0", "--json", *options]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            if not (said := process.stdout.readline()):  # type: ignore[union-attr]
                process.wait()
                log.seek(0)
                raise DataError(f"the server did not start: {log.read()[-500:]}")
            yield Running(json.loads(said)["url"], process)
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()  # type: ignore[union-attr]


class Connection:
    """One kept-alive HTTP connection. Cheaper than a client library, so that the server is what is measured."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and JSON of the answer. Raises `OSError` or `asyncio.IncompleteReadError` where there is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self._streams
        data = json.dumps(body, separators=(",", ":")).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = next(int(line[15:]) for line in lines if line.lower().startswith("content-length:"))
        answer = json.loads(await reader.readexactly(length))
        return int(lines[0].split()[1]), answer

    def close(self) -> None:
        """Closes it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Measured:
    """What was seen of one level at one load."""

    config: str
    level: int
    games: int
    seconds: list[float] = field(default_factory=list)
    """of each answer to a request with a choice"""
    statuses: Counter[int] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    spent: int = 0
    finished: int = 0
    took: float = 0.0

    def row(self) -> dict[str, Any]:
        """For tables: latencies in milliseconds; `share` of the nominal simulations of searches with a network."""
        ms = np.percentile(self.seconds or [np.nan], [50, 95, 99]) * 1000
        errors = sum(count for status, count in self.statuses.items() if status not in (200, 503))
        return {
            "config": self.config, "level": self.level, "games": self.games, "requests": len(self.seconds),
            "per_s": round(len(self.seconds) / max(self.took, 1e-9), 1),
            **dict(zip(("p50_ms", "p95_ms", "p99_ms"), ms.round(1).tolist(), strict=True)),
            "errors": errors, "refused": self.statuses[503], "deadlines": self.why["deadline"],
            "share": round(self.spent / self.asked, 4) if self.asked else None, "finished": self.finished,
        }  # fmt: skip


async def play_games(url: str, config: str, level: int, games: int, seconds: float, seed: int = 0) -> Measured:
    """Plays so many games at a time for so long, all seats at `level`; moves without a choice are not asked for.

    Raises `RulesError` for an answer that is not legal.
    """
    found, openings = Measured(config, level, games), [_opening(config, seed + index) for index in range(OPENINGS)]
    start = time.monotonic()
    await asyncio.gather(*(_play(url, found, start + seconds, openings, index) for index in range(games)))
    found.took = time.monotonic() - start
    return found


def _opening(config: str, seed: int) -> tuple[Game, list[dict[str, Any]]]:
    """A game after some random plies, and these."""
    rng, game, history = np.random.default_rng(seed), Game(config), list[dict[str, Any]]()
    while game.ply < OPENING and not game.is_over:
        moves = game.playable_moves()
        move = moves[int(rng.integers(len(moves)))]
        history += write_moves(game, [move])
        game.push(move)
    return game, history


async def _play(
    url: str, found: Measured, end: float, openings: Sequence[tuple[Game, list[dict[str, Any]]]], index: int
) -> None:
    connection, number = Connection(url), index
    while time.monotonic() < end:
        begun, moves_before = openings[number % len(openings)]
        game, history = begun.copy(), list(moves_before)
        about = {"id": f"{index}-{number}", "rngSeed": number}
        number += found.games
        while not game.is_over and time.monotonic() < end:
            moves = game.playable_moves()
            move = moves[0]
            if len(moves) > 1:
                body = {"game_state": write_state(game, history, about=about), "player_number": game.to_move}
                asked = time.monotonic()
                status, answer = await connection.post("/ai/move", body | {"difficulty": found.level})
                found.statuses[status] += 1
                if status != 200:
                    await asyncio.sleep(0.2)
                    continue
                found.seconds.append(time.monotonic() - asked)
                found.why[answer["why"]] += 1
                if answer["use_neural_net"] and answer["simulations"]:
                    found.asked += answer["simulations"]
                    found.spent += min(answer["simulations_spent"], answer["simulations"])
                move = read_move(game, answer["move"])
            history += write_moves(game, [move])
            game.push(move)
        found.finished += game.is_over
    connection.close()


def rows(
    config: str, levels: Sequence[int], games: Sequence[int], seconds: float, options: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """A row of `Measured` for each level at each load, all against one server."""
    with server(*options) as (url, _):
        asyncio.run(play_games(url, config, 1, 2, 0.5))  # so that everything is in memory
        for level in levels:
            for load in games:
                yield asyncio.run(play_games(url, config, level, load, seconds)).row()
