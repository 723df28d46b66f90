"""Games as the earlier service kept them: SQLite databases of all its schema versions, and JSON lines.

Nothing of what a file says is believed here; `importing` plays it again. Tables and columns are found by what they
hold, under any spelling (`game_id`, `gameId`), so that databases of other versions, hand-made or with missing columns
are read as far as they go.
"""

from __future__ import annotations

import base64
import gzip
import re
import secrets
import shutil
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ringrift.errors import CorruptBlob, DataError, RulesError
from ringrift.rules import Game, Options, Record, config_info
from ringrift.rules.interop import plain, plain_keys

SQLITE = b"SQLite format 3\0"
GZIP = b"\x1f\x8b"
CHUNK = 128  #: games read at once
MILLISECONDS = 1e11  #: no time in seconds is beyond: it would be in the year 5138
#: Names of one thing in different versions, small letters only; the first one that is there counts.
NAMES = {
    "id": ("gameid", "id", "uuid"),
    "board": ("boardtype", "board"),
    "seats": ("numplayers", "playercount", "players", "seats"),
    "number": ("movenumber", "movenum", "movendx", "moveindex", "ply", "number", "sequence"),
    "move": ("movejson", "movedata", "move", "json", "data"),
    "moves": ("moves", "movesjson", "movehistory", "movehistoryjson", "plies"),
    "type": ("movetype", "type"),
    "seat": ("player", "playernumber", "seat"),
    "state": ("initialstatejson", "initialstate", "statejson", "state"),
    "winner": ("winner", "winnerplayer", "winnerseat"),
    "status": ("gamestatus", "status"),
    "end": ("terminationreason", "victoryreason", "termination", "reason", "resultreason"),
    "count": ("totalmoves", "movecount", "nummoves"),
    "seed": ("rngseed", "seed"),
}
#: What is kept of a game besides, under its name in `Record.meta`.
ABOUT = {
    "created": ("createdat", "created"),
    "source": ("source",),
    "engine": ("enginemode", "engine"),
    "quality": ("qualityscore",),
    "opponent": ("opponenttype",),
    "model": ("opponentmodelid",),
}
FINISHED = ("completed", "finished", "over", "gameover")
BOARDS = {"sq8": "square8", "sq19": "square19", "hex": "hexagonal"}
CONFIG = re.compile(r"(square8|square19|hex8|hexagonal|sq8|sq19)_([234])p")

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


@contextmanager
def unpacked(path: Path, into: Path, *, indexed: bool = False) -> Iterator[Path]:
    """A file as SQLite can open it without changing it: itself, or a copy in `into`.

    A copy is made of compressed files, together with the log of a writer that was killed, and, to be `indexed`, where
    a game could be found only by reading the whole database. Raises `DataError`.
    """
    copy = into / secrets.token_hex(8)
    sides = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        if packed:
            with gzip.open(path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        elif any(side.is_file() and side.stat().st_size for side in sides):
            shutil.copyfile(path, copy)
            for side in filter(Path.is_file, sides):
                shutil.copyfile(side, copy.with_name(copy.name + side.name.removeprefix(path.name)))
            sqlite3.connect(copy).execute("PRAGMA journal_mode = DELETE").connection.close()  # takes the log in
        ready = copy if copy.exists() else path
        if indexed and kind_of(ready) == "database":
            with closing(EarlierDatabase(ready, str(path))) as database:
                missing = database.missing_indexes()
            ready = _with_indexes(ready, copy, missing) if missing else ready
        yield ready
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptBlob(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from error
    except sqlite3.DatabaseError as error:
        raise CorruptBlob(f"{path} is not a sound database ({error}): restore it, or fetch it again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read, or copied to {into}: {error.strerror or error}") from error
    finally:
        for left in into.glob(f"{copy.name}*"):
            left.unlink()


def _with_indexes(database: Path, copy: Path, statements: Sequence[str]) -> Path:
    """The copy, made where it is not yet there, with indexes; of a damaged database as many as can be made."""
    if database != copy:
        shutil.copyfile(database, copy)
    with closing(sqlite3.connect(copy)) as connection, suppress(sqlite3.DatabaseError):
        connection.execute("PRAGMA synchronous = OFF")
        for statement in statements:
            connection.execute(statement)
    return copy


def kind_of(path: Path) -> str | None:
    """`database`, `json lines`, or none of them, by what a file begins with; a packed one is looked into."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        with gzip.open(path) if packed else path.open("rb") as stream:
            begin = stream.read(4096)
    except (OSError, EOFError, zlib.error):
        return None
    if begin.startswith(SQLITE):
        return "database"
    return "json lines" if begin.lstrip().startswith(b"{") and b'"' in begin else None


class EarlierDatabase:
    """A database of the earlier service, read only. Raises `DataError` saying why it is none."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        try:
            self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
            self._connection.execute(f"PRAGMA mmap_size = {1 << 40}")  # saves a copy of every page
            kinds = dict(self._rows("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"))
            tables = list(kinds)
            columns = {table: self._columns(table) for table in tables}
        except sqlite3.Error as error:
            raise CorruptBlob(f"{name} is not a sound database ({error}): restore it, or fetch it again") from error
        self._tables = columns
        self._kinds = kinds
        self._games = next((table for table in ("games", *tables) if self._is_games(columns.get(table, {}))), "")
        if not self._games:
            raise DataError(
                f"{name} holds no games: none of its tables {sorted(tables)} has a column of the board and one of the"
                " game's id"
            )
        self._id = self._has(self._games, "id")
        self._moves = [
            table
            for table in sorted(tables, key=lambda table: (table != "game_moves", table))
            if table != self._games and all(self._has(table, what) for what in ("number", "move")) and self._key(table)
        ]

    def _columns(self, table: str) -> dict[str, str]:
        found = self._rows(f'PRAGMA table_info("{table}")')
        return {plain(row[1]): row[1] for row in found}

    @staticmethod
    def _is_games(columns: Mapping[str, str]) -> bool:
        whole = any(name in columns for name in (*NAMES["winner"], *NAMES["moves"], *NAMES["status"]))
        return (
            whole and any(name in columns for name in NAMES["id"]) and any(name in columns for name in NAMES["board"])
        )

    def _has(self, table: str, what: str) -> str:
        """The name of that column; empty where there is none."""
        columns = self._tables.get(table, {})
        return next((columns[name] for name in NAMES[what] if name in columns), "")

    def _key(self, table: str) -> str:
        """The column of a table that names the game."""
        return self._tables.get(table, {}).get("gameid", "")

    def _rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()

    def chunks(self) -> list[tuple[Any, ...]]:
        """The ids of all games, as many together as are read at once. Raises `CorruptBlob` where there are none."""
        ids: list[Any] = []
        try:
            ids += (row[0] for row in self._connection.execute(f'SELECT DISTINCT "{self._id}" FROM "{self._games}"'))
        except sqlite3.DatabaseError as error:
            if not ids:
                raise CorruptBlob(f"{self.name} is damaged ({error}): restore it, or fetch it again") from error
        indexed = all(self._indexed(table, self._key(table)) for table in self._moves)
        size = CHUNK if indexed else max(len(ids), 1)  # without an index each chunk reads the whole table
        return [tuple(ids[at : at + size]) for at in range(0, len(ids), size)]

    def missing_indexes(self) -> list[str]:
        """Statements that make the indexes without which the rows of a game are found only by reading a table."""
        read = [t for t, columns in self._tables.items() if t in self._moves or "movenumber" not in columns]
        keys = {table: self._key(table) for table in read if self._key(table)} | {self._games: self._id}
        return [
            f'CREATE INDEX "of games in {table}" ON "{table}" ("{key}")'
            for table, key in keys.items()
            if self._kinds[table] == "table" and not self._indexed(table, key)
        ]

    def _indexed(self, table: str, key: str) -> bool:
        plan = self._rows(f'EXPLAIN QUERY PLAN SELECT 1 FROM "{table}" WHERE "{key}" = 1')
        return any("SEARCH" in row[3] for row in plan)

    def orphans(self) -> int:
        """Games that have moves, but no row of their own."""
        try:
            return sum(
                self._rows(
                    f'SELECT count(DISTINCT "{self._key(table)}") FROM "{table}"'
                    f' WHERE "{self._key(table)}" NOT IN (SELECT "{self._id}" FROM "{self._games}")'
                )[0][0]
                for table in self._moves
            )
        except sqlite3.DatabaseError:
            return 0  # of a damaged database: its games say so

    def summary(self) -> list[dict[str, Any]]:
        """A row per config: games, plies, mean quality, newest game, sources. Raises `CorruptBlob`."""
        columns = self._tables[self._games]
        told = {what: self._has(self._games, what) for what in ("board", "seats")}
        told |= {
            what: next((columns[n] for n in ABOUT[what] if n in columns), "")
            for what in ("quality", "created", "source")
        }
        board, seats, quality, created, source = (f'g."{name}"' if name else "NULL" for name in told.values())
        groups = f'FROM "{self._games}" AS g'
        try:
            rows = self._rows(
                f"SELECT {board}, {seats}, count(*), avg({quality}), max({created}), group_concat(DISTINCT {source})"
                f" {groups} GROUP BY 1, 2 ORDER BY 1, 2"
            )
            plies: dict[Any, int] = {}
            for table in self._moves:
                joined = f'{groups} JOIN "{table}" AS m ON m."{self._key(table)}" = g."{self._id}"'
                for *key, count in self._rows(f"SELECT {board}, {seats}, count(*) {joined} GROUP BY 1, 2"):
                    plies[tuple(key)] = plies.get(tuple(key), 0) + count
        except sqlite3.DatabaseError as error:
            raise CorruptBlob(f"{self.name} is damaged ({error}): restore it, or fetch it again") from error
        return [
            {
                "config": f"{_board(str(row[0]))}_{row[1]}p",
                "games": row[2],
                "plies": plies.get(row[:2], 0),
                "quality": row[3],
                "newest": row[4],
                "source": row[5],
            }
            for row in rows
        ]

    def games(self, ids: Sequence[Any]) -> Iterator[Recorded | Refused]:
        """Those games; where the file is damaged, they are read one by one."""
        try:
            yield from self._read(ids)
        except sqlite3.DatabaseError as error:
            if len(ids) == 1:
                yield Refused(str(ids[0]), f"the file is damaged there ({error})")
            else:
                for one in ids:
                    yield from self.games([one])

    def _read(self, ids: Sequence[Any]) -> list[Recorded | Refused]:
        games: dict[Any, list[dict[str, Any]]] = {}
        for about in self._about(self._games, ids):
            games.setdefault(about.get(plain(self._id)), []).append(about)
        states = self._beside(ids, "state", lambda columns: "movenumber" not in columns)
        seats: dict[Any, list[dict[str, Any]]] = {}
        for table, columns in self._tables.items():
            told = {"playertype", "aitype", "finaleliminatedrings"} & set(columns)
            if table != self._games and {"gameid", "playernumber"} <= set(columns) and told:
                for about in self._about(table, ids):
                    seats.setdefault(about["gameid"], []).append(about)
        moves = self._read_moves(ids)
        found: list[Recorded | Refused] = []
        for id_ in ids:
            about, *others = games.get(id_, [{}])
            if others or id_ is None:
                found.append(Refused(str(id_), "its id stands in several rows" if others else "it has no id"))
                continue
            about.setdefault("initialstate", states.get(id_))
            rows, problem = in_order(moves.get(id_, []))
            found.append(_read_safely(str(id_), about, seats.get(id_, []), rows, problem, self.name))
        return found

    def _about(self, table: str, ids: Sequence[Any]) -> list[dict[str, Any]]:
        """The rows of those games, without what is null, by plain names."""
        key = self._id if table == self._games else self._key(table)
        return [plain_keys(dict(zip(self._tables[table], row, strict=True))) for row in self._of(table, key, ids)]

    def _of(self, table: str, key: str, ids: Sequence[Any], columns: str = "*") -> list[tuple[Any, ...]]:
        marks = ", ".join("?" * min(len(ids), 900))
        found: list[tuple[Any, ...]] = []
        for at in range(0, len(ids), 900):
            some = ids[at : at + 900]
            marks = marks if len(some) == 900 else ", ".join("?" * len(some))
            found += self._rows(f'SELECT {columns} FROM "{table}" WHERE "{key}" IN ({marks})', some)
        return found

    def _beside(self, ids: Sequence[Any], what: str, fits: Any) -> dict[Any, Any]:
        """What other tables that name games hold, by game."""
        found: dict[Any, Any] = {}
        for table, columns in self._tables.items():
            if table != self._games and self._key(table) and (column := self._has(table, what)) and fits(columns):
                names = f'"{self._key(table)}", "{column}"'
                found |= {row[0]: row[1] for row in self._of(table, self._key(table), ids, names)}
        return found

    def _read_moves(self, ids: Sequence[Any]) -> dict[Any, list[tuple[Any, ...]]]:
        found: dict[Any, list[tuple[Any, ...]]] = {}
        for table in self._moves:
            key, seat = self._key(table), self._has(table, "seat")
            number, move = self._has(table, "number"), self._has(table, "move")
            type_ = self._has(table, "type")
            told = (f'"{column}"' if column else "NULL" for column in (seat, move, type_, number, key))
            for id_, rows in groupby(self._of(table, key, ids, ", ".join(told)), itemgetter(4)):
                found.setdefault(id_, []).extend(rows)
        return found

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()


def in_order(rows: list[tuple[Any, ...]]) -> tuple[list[Move], str]:
    """(seat, move, type, number) rows as moves in order, as far as there is no gap, and what is wrong with the rest."""
    numbers = [row[3] for row in rows]
    if rows and (numbers[0] not in (0, 1) or numbers != list(range(numbers[0], numbers[0] + len(rows)))):
        try:
            by_number: dict[int, tuple[Any, ...]] = {}
            for row in rows:
                if by_number.setdefault(int(row[3]), row)[1] != row[1]:
                    return [], f"there are two different moves of the number {row[3]}"
        except (TypeError, ValueError):
            return [], "a move has no number"
        first = min(by_number)
        if first not in (0, 1):
            return [], f"its moves begin with the number {first}: the earlier ones are missing"
        rows = [by_number[number] for number in range(first, first + len(by_number)) if number in by_number]
        if len(rows) < len(by_number):
            gap = next(n for n in range(first, first + len(by_number) + 1) if n not in by_number)
            return [row for row in rows if int(row[3]) < gap], f"the move of the number {gap} is missing"
    return rows, ""


def line_chunks(path: Path) -> Iterator[list[tuple[int, str]]]:
    """The lines of a file of JSON lines, numbered from 1, as many together as are read at once."""
    with path.open("rb") as begin:
        packed = begin.read(2) == GZIP
    with gzip.open(path, "rt", errors="replace") if packed else path.open(errors="replace") as file:
        lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        try:
            while some := list(islice(lines, CHUNK)):
                yield some
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CorruptBlob(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from error


def read_line(number: int, line: str, name: str) -> Recorded | Refused | Record:
    """A game of JSON lines: a body of the service's replay store, a recorded game of the rules, or a record of ours."""
    where = f"line {number}"
    try:
        document = from_json(line)
    except ValueError as error:
        return Refused(where, f"not JSON: {error}")
    if not isinstance(document, dict):
        return Refused(where, "not a JSON object")
    if {"format", "config", "final_hash"} <= set(document):
        try:
            return Record.from_json(line)
        except DataError as error:
            return Refused(where, str(error))
    about = plain_keys(document)
    for inner in ("metadata", "game"):
        if isinstance(about.get(inner), dict):
            about = plain_keys(about[inner]) | about
    if isinstance(about.get("end"), dict):  # a recorded game of the rules
        about |= {"winner": about["end"].get("winner"), "reason": about["end"].get("reason"), "gamestatus": "finished"}
    final = about.get("finalstate")
    if isinstance(final, dict):
        about = {"winner": final.get("winner"), "gamestatus": final.get("gameStatus")} | about
    players = about["players"] if isinstance(about.get("players"), list) else []
    seats = [plain_keys(one) if isinstance(one, dict) else {"playertype": one} for one in players]
    return _read_safely(str(_first(about, "id") or where), about, seats, None, "", name)


def _read_safely(
    id_: str, about: dict[str, Any], seats: list[dict[str, Any]], moves: list[Move] | None, problem: str, name: str
) -> Recorded | Refused:
    try:
        return _recorded(id_, about, seats, moves, problem, name)
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error, EOFError, OSError) as error:
        return Refused(id_, str(error) or repr(error))


def _recorded(
    id_: str, about: dict[str, Any], seats: list[dict[str, Any]], moves: list[Move] | None, problem: str, name: str
) -> Recorded:
    state = plain_keys(document(_first(about, "state"), "initial state") or {})
    if not moves:
        moves, problem = _moves(document(_first(about, "moves"), "moves")) if not problem else ([], problem)
    if not moves and not problem:
        raise ValueError("it has no moves")
    config = _config(about, state, seats, name)
    options = _options(about, state, config)
    start = _start(about, state, config, options)
    winner = _first(about, "winner")
    status = re.sub(r"[^a-z]", "", str(_first(about, "status") or "").lower().rpartition(".")[2])
    ordered = sorted(seats, key=lambda one: int(one.get("playernumber", 0)))
    kept = {key: _first(about, key, ABOUT) for key in ABOUT}
    return Recorded(
        id=id_,
        config=config,
        options=options,
        moves=moves,
        start=start,
        problem=problem,
        finished=status in FINISHED or (not status and winner is not None),
        winner=max(_number(winner), 0),
        end=str(_first(about, "end") or "") if not isinstance(_first(about, "end"), dict) else "",
        count=_number(_first(about, "count")),
        finals=tuple(
            (p.get("finaleliminatedrings"), p.get("finalterritoryspaces"), p.get("finalringsinhand")) for p in ordered
        ),
        players=tuple(_player(one) for one in ordered),
        seed=_number(_first(about, "seed")),
        about={key: value for key, value in kept.items() if isinstance(value, str | int | float)},
    )


def _first(about: Mapping[str, Any], what: str, names: Mapping[str, tuple[str, ...]] = NAMES) -> Any:
    """What is there under the first of the names; none where there is nothing."""
    return next((about[name] for name in names[what] if about.get(name) is not None), None)


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


def _number(given: object) -> int:
    """A whole number; 0 for anything else."""
    return int(given) if isinstance(given, int) or (isinstance(given, str) and given.lstrip("-").isdigit()) else 0


def document(given: object, what: str) -> Any:
    """JSON as a document: as it is, or from text or bytes, packed or not. Raises ValueError naming `what` it is."""
    try:
        if isinstance(given, str) and given.lstrip()[:1] not in '[{"':
            given = base64.b64decode(given, validate=True)
        if isinstance(given, bytes):
            given = gzip.decompress(given) if given.startswith(GZIP) else given
            given = zlib.decompress(given) if given[:1] == b"\x78" else given
        read = from_json(given) if isinstance(given, str | bytes) and given else given
    except (ValueError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"its {what} cannot be read, as JSON or packed by gzip or zlib ({error})") from error
    return document(read, what) if isinstance(read, str) and read.lstrip()[:1] in ("[", "{") else read


def _moves(given: Any) -> tuple[list[Move], str]:
    if isinstance(given, str):
        given = given.split()
    if not isinstance(given, list):
        return [], ""
    if given and isinstance(given[0], dict) and "m" in given[0]:  # plies of a recorded game of the rules
        return [(None, f"{ply['m']}@{ply['x']}" if "x" in ply else ply["m"]) for ply in given], ""
    found: list[Move] = []
    for one in given:
        inner = one.get("move") if isinstance(one, dict) else None
        about = plain_keys(one) if isinstance(one, dict) else {}
        found.append((about.get("player"), inner if isinstance(inner, dict) else one))
    return found, ""


def _config(about: Mapping[str, Any], state: Mapping[str, Any], seats: Sequence[object], name: str) -> str:
    hint = CONFIG.search(name)
    given = about.get("config")
    if isinstance(given, str):
        config_info(given)
        return given
    board = next(
        (b for b in (_first(about, "board"), state.get("boardtype"), hint and hint[1]) if isinstance(b, str)), ""
    )
    counts = (
        about.get("numplayers"),
        _first(about, "seats"),
        len(state.get("players", ())),
        len(seats),
        hint and hint[2],
    )
    count = next((int(c) for c in counts if isinstance(c, int | str) and c and str(c).isdigit()), 0)
    config = f"{_board(board)}_{count}p"
    try:
        config_info(config)
    except RulesError:
        raise ValueError(f"it is of the board {board!r} and {count} seats, which there is no config of") from None
    return config


def _board(given: str) -> str:
    """`square8` of `BoardType.SQUARE8` or `sq8`."""
    name = given.lower().rpartition(".")[2]
    return BOARDS.get(name, name)


def _options(about: Mapping[str, Any], state: Mapping[str, Any], config: str) -> Options:
    given = about.get("opts", about.get("options", state.get("rulesoptions", about.get("rulesoptions")))) or {}
    rules = plain_keys(document(given, "rules options"))
    rings, swap = rules.get("ringsperplayer"), bool(rules.get("swapruleenabled", False))
    lps = rules.get("lpsroundsrequired", state.get("lpsroundsrequired", 3))
    if rings is None:
        hands = {player.get("ringsInHand") for player in state.get("players", ()) if isinstance(player, dict)}
        rings = hands.pop() if len(hands) == 1 and not _occupied(state) else None
    return Options(swap, None if rings == config_info(config).rings_per_player else rings, lps)


def _start(about: Mapping[str, Any], state: Mapping[str, Any], config: str, options: Options) -> str:
    if isinstance(init := about.get("init"), str) and init != Game(config, options).canonical():
        return Game.from_canonical(config, init, options).text()
    if isinstance(about.get("start"), str):
        return str(about["start"])
    if _occupied(state):
        raise ValueError("it begins with a position that was set up, which is not imported")
    return ""


def _occupied(state: Mapping[str, Any]) -> bool:
    board = state.get("board")
    return isinstance(board, dict) and any(board.get(key) for key in ("stacks", "markers", "collapsedSpaces"))


def _player(seat: Mapping[str, Any]) -> str:
    """`gumbel_mcts:9`, `human`, or nothing."""
    name = seat.get("aitype") or seat.get("playertype") or seat.get("type") or ""
    level = seat.get("aidifficulty")
    return f"{name}:{level}" if seat.get("aitype") and level is not None else str(name)
