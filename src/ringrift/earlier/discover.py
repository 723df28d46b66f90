"""`ringrift data ls`: every run, and every database and file of games of the earlier service, under some places."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ringrift.earlier.games import EarlierDatabase, game_chunks, kind_of, read_game, unpacked
from ringrift.earlier.importing import is_source
from ringrift.errors import CorruptBlob, DataError, NodeUnreachable, RingRiftError
from ringrift.fabric.scratch import scratch
from ringrift.store import far_ls
from ringrift.store.games import GameStore
from ringrift.store.remote import SCHEME, ask
from ringrift.store.retold import Refused, unix_time
from ringrift.store.run import RunDirectory
from ringrift.store.schema import SCHEMA


@dataclass(frozen=True)
class Found:
    """What one place holds of one config."""

    place: str
    kind: str
    """`run`, `database` or `json lines`"""
    config: str
    games: int
    plies: int
    waiting: int = 0
    """not validated yet"""
    samples: int = 0
    quarantined: int = 0
    quality: float | None = None
    """mean over its games; of a database, of what the earlier service gave them"""
    age_hours: float | None = None
    """of the newest game"""
    source: str = ""
    """where its games come from, by their own word"""


@dataclass(frozen=True)
class Unreadable:
    """A place, or a file there that looks like a store, that cannot be read."""

    place: str
    reason: str


def find(places: Iterable[Path | str]) -> Iterator[Found | Unreadable]:
    """What is there, place by place, `ssh://user@host/path` on other machines; a run of which nothing is stored has no
    row.

    Raises `DataError` for a place that does not exist, or that holds nothing of the kind.
    """
    for named in places:
        if str(named).startswith(SCHEME):
            yield from _far(str(named))
            continue
        place = Path(named)
        if not place.exists():
            raise DataError(f"{place} does not exist: give run directories, databases, or directories of them")
        stores = list(_stores(place))
        if not stores:
            what = "is not a run directory (it has no run.json)" if place.is_dir() else "holds no games"
            raise DataError(
                f"{place} {what}: give a directory made by `ringrift loop --run DIR`, a database or JSON lines of the"
                " earlier service, or a directory with such in it"
            )
        for store in stores:
            try:
                yield from _run(store) if store.is_dir() else _file(store)
            except (RingRiftError, sqlite3.Error, OSError) as error:
                yield Unreadable(
                    str(store), said if (said := str(error)).startswith(str(store)) else f"{store}: {said}"
                )


def _far(place: str) -> Iterator[Found | Unreadable]:
    host = place.removesuffix(urlsplit(place).path)
    try:
        found = ask(place)
    except NodeUnreachable as error:
        yield Unreadable(place, str(error))
        return
    yield from (Found(**row | {"place": host + row["place"]}) for row in found["rows"])
    yield from (Unreadable(host + path, f"{host}{path}: {reason}") for path, reason in found["unreadable"])


def _stores(place: Path) -> Iterator[Path]:
    """Run directories, which are not looked into, and files of games."""
    if place.is_file():
        if kind_of(place):
            yield place
        return
    for here, inner, files in far_ls.walk(place):
        if "run.json" in files:
            inner.clear()
            yield here
            continue
        yield from (here / name for name in files if is_source(here / name))


def _is_older(database: Path) -> bool:
    """Whether opening this database would bring it up to this release's format; by its header."""
    with database.open("rb") as file:
        return 0 < int.from_bytes(file.read(64)[60:], "big") < max(SCHEMA)


def _run(path: Path) -> Iterator[Found]:
    if (path / "games.db").is_file() and _is_older(path / "games.db"):  # its release may be using it: it stays so
        yield from (Found(**row) for row in far_ls.run_rows(path))
        return
    with RunDirectory.open(path) as run:
        about = {
            row["config"]: row
            for row in run.database.rows(
                "SELECT config, (SELECT avg(quality) FROM games WHERE config = counted.config AND state = 'valid') AS"
                " quality, (SELECT max(created) FROM games WHERE id = (SELECT max(id) FROM games WHERE config ="
                " counted.config)) AS newest, (SELECT group_concat(DISTINCT substr(worker, 1, instr(worker || ':', ':')"
                " - 1)) FROM games WHERE config = counted.config) AS source"
                " FROM (SELECT DISTINCT config FROM game_counts WHERE games > 0) AS counted"
            )
        }
        for row in GameStore(run).counts():
            yield Found(
                str(path),
                "run",
                row.config,
                row.games,
                row.plies,
                row.waiting,
                row.samples,
                row.quarantined,
                about[row.config]["quality"],
                _age(about[row.config]["newest"]),
                about[row.config]["source"],
            )


def _file(path: Path) -> Iterator[Found]:
    kind = str(kind_of(path))
    with scratch() as into, unpacked(path, into) as source:
        if kind == "database":
            database = EarlierDatabase(source, str(path))
            rows = database.summary()
            database.close()
        else:
            rows = _lines(source, str(path))
        written = path.stat().st_mtime
        for row in rows:
            newest = row.pop("newest", None)
            given = row | {"source": row["source"] or ""}
            yield Found(str(path), kind, age_hours=_age(newest, written), **given)


def _lines(path: Path, name: str) -> list[dict[str, Any]]:
    """Games and plies of each config of a file of JSON. Raises `CorruptBlob` where none of it can be read."""
    rows: dict[str, dict[str, Any]] = {}
    refused = None
    for chunk in game_chunks(path):
        for place, text in chunk:
            game = read_game(place, text, name)
            if isinstance(game, Refused):
                refused = refused or game
            else:
                row = rows.setdefault(game.config, {"config": game.config, "games": 0, "plies": 0, "source": ""})
                row["games"] += 1
                row["plies"] += len(game.moves)
    if refused and not rows:
        raise CorruptBlob(f"{refused.id}: {refused.reason}")
    return [rows[config] for config in sorted(rows)]


def _age(newest: object, otherwise: float | None = None) -> float | None:
    """Hours since a time; else since the other one."""
    if (seconds := unix_time(newest)) is None:
        seconds = otherwise
    return None if seconds is None else max(0.0, (time.time() - seconds) / 3600)
