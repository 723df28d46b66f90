"""Matches as they are kept: JSON lines, first what was going to be played (the header), then a line per game.

Each line has a checksum of the rest of it (`crc32`); lines of before there was one are taken without.
Files can be put one after the other, and a match may stand in several: a pool for ratings is any number of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TextIO

from ringrift.errors import CorruptBlob, DataError, FormatTooNew
from ringrift.fabric.faults import fault_point
from ringrift.fabric.files import make_directory, space_checked
from ringrift.texts import read_json, shown, why

FORMAT = 1
Header = Mapping[str, Any]


@dataclass(frozen=True)
class GameResult:
    """One game of a match."""

    opening: int
    """Number of the opening; games with the same one form a group."""
    seats: tuple[int, ...]  # [P]
    """Who sat where: 0 for A, 1 for B."""
    ranks: tuple[int, ...] = ()  # [P]
    """Each seat's rank, as in `Outcome`; none where the game is void."""
    plies: int = 0
    moves: str = ""
    """Hash of all moves: no two games of a match that count have the same."""
    spent: tuple[Mapping[str, float], ...] = ()
    """What A and B spent: decisions, seconds, longest, nodes."""
    void: str = ""
    """Why the game has no result."""
    by: int | None = None
    """Whose fault that is; None where a process died."""

    @property
    def point(self) -> float:
        """1 where a seat of A won, 0 where one of B did."""
        return 1.0 - self.seats[self.ranks.index(1)]

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """What `asdict` gave, perhaps by way of JSON."""
        given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in kept.items()}
        found = cls(**given)
        if not all(type(one) is int for one in (*found.seats, *found.ranks, found.opening, found.plies)):
            raise ValueError("its seats, ranks, opening and plies are whole numbers")
        return found


def as_json(value: object) -> Any:
    """`value` as it comes back from JSON."""
    return json.loads(json.dumps(value))


def line_of(said: Mapping[str, Any]) -> str:
    """A line of a file."""
    return json.dumps({**said, "crc32": _checksum(said)}) + "\n"


def _checksum(said: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file; a last one without its end was being written by a process that was killed, and is dropped.

    Raises `CorruptBlob` for a line that is not what was written, `FormatTooNew` for a header of a later version.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            said = read_json(line)
        except ValueError:
            said = None
        if not isinstance(said, dict) or ("ringrift_match" not in said and "game" not in said):
            raise CorruptBlob(f"{path}, line {number}, is neither the header of a match nor a game of one")
        if (kept := said.pop("crc32", None)) is not None and kept != _checksum(said):
            raise CorruptBlob(
                f"{path}, line {number}, was changed: its checksum does not fit; restore the file, or delete the line"
                " of a game, which is played again then"
            )
        if type(version := said.get("ringrift_match", 0)) is not int or not version >= 0:
            raise CorruptBlob(f"{path}, line {number}: {shown(version)} is no version of a file of matches")
        if version > FORMAT:
            raise FormatTooNew(f"{path} has format {said['ringrift_match']}; this version reads up to {FORMAT}")
        yield said


def read_matches(paths: Iterable[Path]) -> list[tuple[Header, dict[str, GameResult]]]:
    """Every match in the files, each once, with its games by work id; a game that is there twice counts once."""
    found: dict[str, tuple[Header, dict[str, GameResult]]] = {}
    for path in paths:
        games: dict[str, GameResult] | None = None
        for said in lines(path):
            if "ringrift_match" in said:
                _, games = found.setdefault(json.dumps(said, sort_keys=True), (said, {}))
            elif games is None:
                raise CorruptBlob(f"{path} does not begin with the header of a match")
            else:
                try:
                    games[str(said["game"])] = GameResult.from_dict(said["result"])
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    raise CorruptBlob(f"{path} has a game of a match that cannot be read: {why(error)}") from error
    return list(found.values())


@dataclass
class MatchFile:
    """A match being kept: what is known of it, and where the next game goes."""

    games: dict[str, GameResult]
    file: TextIO | None = None

    def add(self, work_id: str, result: GameResult) -> None:
        """Keeps a game; `kill -9` in the next moment does not lose it."""
        self.games[work_id] = result
        if self.file:
            path = Path(self.file.name)
            with space_checked(path):
                self.file.write(line_of({"game": work_id, "result": asdict(result)}))
                fault_point(path, written=False)
                self.file.flush()
                fault_point(path, written=True)


def _lock(file: TextIO, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise DataError(
                    f"{file.name} is being written by another match: wait for it, or save to another file"
                ) from None
            time.sleep(0.05)


@contextmanager
def match_file(path: Path | None, header: Header, patience: float = 0.0) -> Iterator[MatchFile]:
    """The match of that header, gone on with where `path` holds its beginning; without a path it is not kept. While
    another process writes it, it is waited for `patience` seconds.

    Raises `DataError` where the file holds another match, and says in what it differs.
    """
    if path is None:
        yield MatchFile({})
        return
    make_directory(path.parent)
    with path.open("a+", encoding="utf-8") as file:
        _lock(file, patience)
        found = read_matches([path])
        for kept, _ in found:
            if differing := [key for key in {**kept, **header} if kept.get(key) != header.get(key)]:
                said = "; ".join(f"{key} was {kept.get(key)!r} and is {header.get(key)!r}" for key in differing)
                raise DataError(f"{path} holds another match: {said}; give the same options, or save to another file")
        os.truncate(file.fileno(), path.read_bytes().rfind(b"\n") + 1)
        if not found:
            file.write(line_of(header))
            file.flush()
        yield MatchFile(found[0][1] if found else {}, file)
