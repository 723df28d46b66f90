"""Games as the earlier service kept them: SQLite databases of all its schema versions, and JSON lines.

Nothing of what a file says is believed here; `importing` plays it again. Tables and columns are found by what they
hold, under any spelling (`game_id`, `gameId`), so that databases of other versions, hand-made or with missing columns
are read as far as they go.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import secrets
import shutil
import sqlite3
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import from_json

from ringrift.errors import CorruptBlob, DataError, RulesError
from ringrift.fabric.database import copied, sides
from ringrift.rules import Game, Options, Record, config_info
from ringrift.store.far_ls import LEAST_STEPS, STEPS, STEPS_A_BYTE
from ringrift.store.retold import GZIP, LONGEST_GAME, Move, Recorded, Refused, document
from ringrift.texts import encoding, shown
from ringrift.wire.moves import plain, plain_keys

SQLITE = b"SQLite format 3\0"
CHUNK = 128  #: games read at once
MOST_PACKED, LEAST_UNPACKED = 200, 1 << 26  #: a file unpacks to at most so many times its size, and so many bytes
PIECE = 1 << 20  #: letters of a file that are read at once
#: Tables that store their rows: a view or a virtual table can be endless.
TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE '%\"%'"
    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)
MOST_TABLES = 256  #: the earlier service's have 15
ROW = 4  #: bytes that a row has at least
SHORT = 200  #: letters that are kept of a name or a word
TOO_LONG = "\0"  #: in place of the text of a longer one
UNFINISHED, BROKEN = -1, -2
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


class Unpacking(io.RawIOBase):
    """What a file packed by gzip holds, of bounded size. Reading raises `CorruptBlob` where it is larger.

    Recorded games and databases shrink to a 8th to a 50th; a file of zeros to a 1000th.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, gzip.open(path)  # noqa: SIM115
        self._left = LEAST_UNPACKED + MOST_PACKED * path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._file.readinto(buffer)
        self._left -= read
        if self._left < 0:
            raise CorruptBlob(
                f"{self._path} unpacks to more than {MOST_PACKED} times its size, which no file of games does"
            )
        return int(read)

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def unpacked(path: Path, into: Path, *, indexed: bool = False) -> Iterator[Path]:
    """A file as SQLite can open it without changing it: itself, or a copy in `into`.

    A copy is made of compressed files, together with the log of a writer that was killed, and, to be `indexed`, where
    a game could be found only by reading the whole database. Raises `DataError`.
    """
    copy = into / secrets.token_hex(8)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
        if packed:
            with Unpacking(path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, PIECE)
        elif sides(path):
            with closing(sqlite3.connect(copied(path, copy))) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")  # takes the log in
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
        guard(connection, copy.stat().st_size)
        connection.execute("PRAGMA synchronous = OFF")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {2 * pages + 100}")  # an index is smaller than its table
        for statement in statements:
            connection.execute(statement)
    return copy


def kind_of(path: Path) -> str | None:
    """`database`, `json lines`, or none of them, by what a file begins with; a packed one is looked into."""
    try:
        begin = _beginning(path)
    except (OSError, EOFError, zlib.error):
        return None
    if begin.startswith(SQLITE):
        return "database"
    text = begin.decode(encoding(begin), errors="replace").lstrip("\ufeff \t\r\n")
    return "json lines" if text.startswith("{") or re.match(r"\[\s*[\[{]", text) else None


def why_not(path: Path) -> str:
    """What is to be said of a file that holds no games."""
    try:
        begin = _beginning(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    except (EOFError, zlib.error) as error:
        return f"{path} is a damaged or truncated gzip file ({error}): fetch it again"
    return f"{path} is {'neither an SQLite database nor JSON' if begin.strip() else 'empty'}"


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    with gzip.open(path) if packed else path.open("rb") as stream:
        return bytes(stream.read(4096))


@dataclass
class Work:
    """How much a database may still ask for."""

    left: int
    """steps of SQLite's machine, over all queries"""
    most_bytes: int
    """in the rows of one query: what is stored is in the file"""

    def step(self) -> int:
        """Counts; 1 to stop."""
        self.left -= STEPS
        return self.left < 0


def guard(connection: sqlite3.Connection, size: int) -> Work:
    """Lets a connection to a file of others do no more than reading its tables takes: no functions that its schema
    names, values no longer than a game, and steps in proportion to its size in bytes."""
    work = Work(LEAST_STEPS + STEPS_A_BYTE * size, (1 << 20) + 2 * size)
    connection.text_factory = lambda text: text.decode(errors="replace")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_GAME)
    connection.set_progress_handler(work.step, STEPS)
    return work


class EarlierDatabase:
    """A database of the earlier service, read only. Raises `DataError` saying why it is none."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        try:
            uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self.close = weakref.finalize(self, self._connection.close)  # also where it is none, and once forgotten
            self._work = guard(self._connection, path.stat().st_size)
            self._connection.execute(f"PRAGMA mmap_size = {1 << 40}")  # saves a copy of every page
            tables = [row[0] for row in self._rows(TABLES)]
            if len(tables) > MOST_TABLES:
                raise DataError(f"{name} has more than {MOST_TABLES} tables, which no database of games has")
            columns = {table: self._columns(table) for table in tables}
        except sqlite3.Error as error:
            raise CorruptBlob(f"{name} is not a sound database ({error}): restore it, or fetch it again") from error
        self._tables = columns
        self._games = next((table for table in ("games", *tables) if self._is_games(columns.get(table, {}))), "")
        if not self._games:
            some = ", ".join(sorted(tables)[:8])[:SHORT]
            raise DataError(
                f"{name} holds no games: none of its {len(tables)} tables ({some}) has a column of the board and"
                " one of the game's id; views are not read"
            )
        self._id = self._has(self._games, "id")
        self._moves = [
            table
            for table in sorted(tables, key=lambda table: (table != "game_moves", table))
            if table != self._games and all(self._has(table, what) for what in ("number", "move")) and self._key(table)
        ]

    def _columns(self, table: str) -> dict[str, str]:
        """The names of the stored columns by their plain names; columns that are computed are not among them."""
        found = self._rows(f'PRAGMA table_info("{table}")')
        return {plain(row[1]): row[1] for row in found if '"' not in row[1]}

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
        """The rows. Raises sqlite3.Error, and `CorruptBlob` where they are more than the file can hold."""
        found, left = [], self._work.most_bytes
        try:
            rows = self._connection.execute(query, parameters)
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError("a name in it is no text") from error
        for row in rows:
            left -= ROW + sum(len(value) for value in row if isinstance(value, str | bytes))
            if left < 0:
                raise CorruptBlob(f"{self.name} gives more rows than a file of its size can hold: it is damaged")
            found.append(row)
        return found

    def chunks(self) -> list[tuple[Any, ...]]:
        """The ids of all games, as many together as are read at once. Raises `CorruptBlob` where there are none."""
        ids: list[Any] = []
        try:
            for row in self._connection.execute(f'SELECT DISTINCT "{self._id}" FROM "{self._games}"'):
                ids.append(row[0])
                if len(ids) * ROW > self._work.most_bytes:
                    raise CorruptBlob(f"{self.name} names more games than a file of its size can hold: it is damaged")
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
            if not self._indexed(table, key)
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
            if self._work.left < 0:
                said = f"{self.name} takes more work than a file of its size can need: it is damaged"
                raise CorruptBlob(said) from error
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
        columns = self._tables[table]
        chosen = ", ".join(f'"{name}"' for name in columns.values())
        return [plain_keys(dict(zip(columns, row, strict=True))) for row in self._of(table, key, ids, chosen)]

    def _of(self, table: str, key: str, ids: Sequence[Any], columns: str) -> list[tuple[Any, ...]]:
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


def in_order(rows: list[tuple[Any, ...]]) -> tuple[list[Move], str]:
    """(seat, move, type, number) rows as moves in order, as far as there is no gap, and what is wrong with the rest."""
    numbers = [row[3] for row in rows]
    if rows and (numbers[0] not in (0, 1) or numbers != list(range(numbers[0], numbers[0] + len(rows)))):
        try:
            by_number: dict[int, tuple[Any, ...]] = {}
            for row in rows:
                if by_number.setdefault(int(str(row[3])[:SHORT]), row)[1] != row[1]:
                    return [], f"there are two different moves of the number {row[3]}"
        except ValueError:
            return [], "a move has no number"
        first = min(by_number)
        rows = [(*row[:3], number, *row[4:]) for number, row in by_number.items()]
        if first not in (0, 1):
            return [], f"its moves begin with the number {first}: the earlier ones are missing"
        rows = [by_number[number] for number in range(first, first + len(by_number)) if number in by_number]
        if len(rows) < len(by_number):
            gap = next(n for n in range(first, first + len(by_number) + 1) if n not in by_number)
            return [by_number[n] for n in range(first, gap)], f"the move of the number {gap} is missing"
    return rows, ""


def game_chunks(path: Path) -> Iterator[list[tuple[str, str]]]:
    """The games of a file of JSON with their places in it, as many together as are read at once.

    The file holds one game a line, or games that are written over several lines, or lists of games. Raises
    `CorruptBlob` for a file that cannot be read to its end.
    """
    begin = _beginning(path)
    try:
        with open_text(path, encoding(begin)) as file:
            games = _games_in(file)
            while some := list(islice(games, CHUNK)):
                yield some
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptBlob(f"{path} is a damaged or truncated gzip file ({error}): fetch it again") from error


def open_text(path: Path, encoded: str) -> TextIO:
    """A file as text, unpacked where it is packed."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    if not packed:
        return path.open(encoding=encoded, errors="replace")
    return io.TextIOWrapper(Unpacking(path), encoding=encoded, errors="replace")  # type: ignore[type-var]


#: What stands between games: lists of them are read as if they stood alone.
_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_NEXT = re.compile(r"\n(?=[\[{])")
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=len)  # only where a document ends matters


def _games_in(file: TextIO) -> Iterator[tuple[str, str]]:
    """(place, JSON) of each game; what is none, a line or up to the next that begins with a bracket, comes as it is."""
    text, at, line, same = "", 0, 1, 0
    ended = False

    def more() -> None:
        nonlocal text, at, ended
        new = file.read(PIECE)
        text, at, ended = text[at:] + new, 0, not new

    while True:
        if len(text) - at < PIECE and not ended:
            more()
        begin = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        passed, between, at = text.count("\n", at, begin), text[at:begin], begin
        line, same = line + passed, 0 if passed else same
        listed = "[" in between or "," in between
        if at == len(text):
            if ended:
                return
            continue
        same += 1
        place = f"line {line}" if same == 1 else f"line {line}, game {same}"
        end = text.find("\n", at)
        whole = text[at:end].rstrip(" \t\r,]") if end >= 0 else ""
        if not (listed or same > 1) and whole.endswith("}") and whole.count("{") == whole.count("}"):
            at += len(whole)
            yield place, whole
            continue
        while True:  # to the end of the document, which may be further on in the file
            end = _document_end(text, at)
            if end != UNFINISHED or ended or len(text) - at > LONGEST_GAME:
                break
            more()
        if end < 0:  # no document: what follows on its line, or, of one that began, up to one that begins a line
            too_long = end == UNFINISHED and not ended
            broken = text[at : at + 4096]
            while True:
                found = _NEXT.search(text, at) if broken.startswith("{") else re.compile("\n").search(text, at)
                if found or ended:
                    end = found.start() if found else len(text)
                    break
                line, at = line + text.count("\n", at), len(text)
                more()
            yield place, TOO_LONG if too_long else broken
        else:
            yield place, text[at:end]
        line, at = line + text.count("\n", at, end), end


def _document_end(text: str, at: int) -> int:
    """Where the document that begins there ends; `UNFINISHED`, or `BROKEN`."""
    try:
        return _DECODER.raw_decode(text, at)[1]
    except json.JSONDecodeError as error:
        cut = error.pos > len(text) - 64 or error.msg.startswith("Unterminated string")
        return UNFINISHED if cut else BROKEN
    except (RecursionError, ValueError):
        return BROKEN


def read_game(where: str, text: str, name: str) -> Recorded | Refused | Record:
    """A game of JSON: a body of the service's replay store, a recorded game of the rules, or a record of ours."""
    if text == TOO_LONG:
        return Refused(where, f"it is longer than {LONGEST_GAME >> 20} MB, which no game is")
    try:
        document = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        return Refused(where, f"not JSON: {error}")
    if not isinstance(document, dict):
        return Refused(where, "not a JSON object")
    if {"format", "config", "final_hash"} <= set(document):
        try:
            return Record.from_json(text)
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
    except ValueError as error:
        return Refused(id_, str(error))


def _recorded(
    id_: str, about: dict[str, Any], seats: list[dict[str, Any]], moves: list[Move] | None, problem: str, name: str
) -> Recorded:
    told = document(_first(about, "state"), "initial state")
    if told and not isinstance(told, dict):
        raise ValueError(f"its initial state is {shown(told)}; an object is right")
    state = plain_keys(told or {})
    if not moves:
        moves, problem = _moves(document(_first(about, "moves"), "moves")) if not problem else ([], problem)
    if not moves and not problem:
        raise ValueError("it has no moves")
    config = _config(about, state, seats, name)
    options = _options(about, state, config)
    start = _start(about, state, config, options)
    winner, end = _first(about, "winner"), _first(about, "end")
    status = re.sub(r"[^a-z]", "", str(_first(about, "status") or "").lower().rpartition(".")[2])
    ordered = sorted(seats, key=lambda one: _number(one.get("playernumber")))
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
        end=str(end)[:SHORT] if isinstance(end, str | int) else "",
        count=_number(_first(about, "count")),
        finals=tuple(
            (_counter(p, "finaleliminatedrings"), _counter(p, "finalterritoryspaces"), _counter(p, "finalringsinhand"))
            for p in ordered
        ),
        players=tuple(_player(one)[:SHORT] for one in ordered),
        seed=seed if (seed := _number(_first(about, "seed"))) < 1 << 63 else 0,
        about={key: value for key, value in kept.items() if isinstance(value, str | int | float)},
    )


def _first(about: Mapping[str, Any], what: str, names: Mapping[str, tuple[str, ...]] = NAMES) -> Any:
    """What is there under the first of the names; none where there is nothing."""
    return next((about[name] for name in names[what] if about.get(name) is not None), None)


def _number(given: object) -> int:
    """A whole number; 0 for anything else."""
    if isinstance(given, str) and len(given) < 20 and re.fullmatch(r"-?[0-9]+", given):
        given = int(given)
    if isinstance(given, float) and given == given and abs(given) < 1 << 53 and given % 1 == 0:
        given = int(given)
    return given if isinstance(given, int) and abs(given) < 1 << 64 else 0


def _counter(seat: Mapping[str, Any], name: str) -> int | None:
    """A counter of a seat; None where it does not tell one."""
    given = seat.get(name)
    return _number(given) if isinstance(given, int | float) or (isinstance(given, str) and given.isdecimal()) else None


def _moves(given: Any) -> tuple[list[Move], str]:
    if isinstance(given, str):
        given = given.split()
    if not isinstance(given, list):
        return [], ""
    if given and isinstance(given[0], dict) and "m" in given[0]:  # plies of a recorded game of the rules
        plies = [ply if isinstance(ply, dict) else {} for ply in given]
        return [(None, f"{ply['m']}@{ply['x']}" if "x" in ply else ply.get("m")) for ply in plies], ""
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
        len(_list(state, "players")),
        len(seats),
        hint and hint[2],
    )
    count = next((n for given in counts if (n := _number(given)) > 0), 0)
    config = f"{_board(board)}_{count}p"
    try:
        config_info(config)
    except RulesError:
        said = f"it is of the board {shown(board)} and {shown(count)} seats, which there is no config of"
        raise ValueError(said) from None
    return config


def _board(given: str) -> str:
    """`square8` of `BoardType.SQUARE8` or `sq8`."""
    name = given.lower().rpartition(".")[2]
    return BOARDS.get(name, name)


def _options(about: Mapping[str, Any], state: Mapping[str, Any], config: str) -> Options:
    given = about.get("opts", about.get("options", state.get("rulesoptions", about.get("rulesoptions")))) or {}
    if not isinstance(given := document(given, "rules options"), dict):
        raise ValueError(f"its rules options are {shown(given)}; an object is right")
    rules = plain_keys(given)
    rings, swap = rules.get("ringsperplayer"), bool(rules.get("swapruleenabled", False))
    lps = rules.get("lpsroundsrequired", state.get("lpsroundsrequired", 3))
    if rings is None:
        hands = {_counter(player, "ringsInHand") for player in _list(state, "players") if isinstance(player, dict)}
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


def _list(about: Mapping[str, Any], name: str) -> list[Any]:
    found = about.get(name)
    return found if isinstance(found, list) else []


def _occupied(state: Mapping[str, Any]) -> bool:
    board = state.get("board")
    return isinstance(board, dict) and any(board.get(key) for key in ("stacks", "markers", "collapsedSpaces"))


def _player(seat: Mapping[str, Any]) -> str:
    """`gumbel_mcts:9`, `human`, or nothing."""
    name = seat.get("aitype") or seat.get("playertype") or seat.get("type") or ""
    level = seat.get("aidifficulty")
    return f"{name}:{level}" if seat.get("aitype") and level is not None else str(name)
