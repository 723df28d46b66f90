"""Checksums of rows: kept by triggers in a table beside, so that one changed bit of any row is found.

SQLite's own check finds damage of its structure, not of what is in a row. `sums` has the CRC-32 of every row under the
name of its table and its key; the last numbers of tables that count, and the statements that made the tables, have
theirs too. Only connections with `SUM_FUNCTIONS` can change such tables.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringrift.fabric.database import Database, Function, Patience


def row_sum(*values: bytes | float | None) -> int:
    """CRC-32 of values, with their lengths."""
    found = 0
    for value in values:
        content = value if isinstance(value, bytes) else b"-" if value is None else struct.pack("<d", value)
        found = zlib.crc32(content, zlib.crc32(len(content).to_bytes(8, "little"), found))
    return found


def is_text(content: bytes) -> bool:
    """Whether this is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


SUM_FUNCTIONS: Mapping[str, Function] = {"ringrift_sum": row_sum, "ringrift_is_text": is_text}


@dataclass(frozen=True)
class Summed:
    """A table whose rows have checksums."""

    table: str
    key: str
    """An expression over its columns, its names in braces; one for each row."""
    columns: str
    """Columns of texts and whole numbers."""
    raw: str = ""
    """Columns of numbers with fractions, and of bytes."""
    kept: str = ""
    """Those that may change in a row that otherwise never does: of these there is a second copy, `TABLE_kept`, which
    needs no function, and the checksum is of the others."""
    json: str = ""
    """Columns that hold JSON."""
    counts: bool = False
    """Whether it gives numbers that never come again."""

    def named(self, row: str = "") -> str:
        """The key of a row; the sign keeps its column from deciding how it is compared."""
        return "+(" + self.key.replace("{", row).replace("}", "") + ")"

    def sum(self, row: str = "") -> str:
        """The checksum of a row, as an expression; texts are not decoded, and may be none."""
        return f"ringrift_sum({', '.join([self._told(row), *(row + name for name in self.raw.split())])})"

    def problem(self) -> str:
        """Why a row joined with its sum is not sound, or NULL, as an expression."""
        table = f"{self.table}."
        differing = [f"{table}{name} IS NOT {self.table}_kept.{name}" for name in self.kept.split()]
        unread = [
            f"NOT ringrift_is_text({self._told(table)})",
            *(f"NOT json_valid({table}{n})" for n in self.json.split()),
        ]
        changed = " OR ".join([f"sums.sum IS NOT {self.sum(table)}", *differing])
        return (
            f"CASE WHEN {changed} THEN 'it is not as it was written'"
            f" WHEN {' OR '.join(unread)} THEN 'it cannot be read: it holds no text or no JSON' END"
        )

    def joined(self) -> str:
        """Its rows with their sums, for a query."""
        key = self.named(f"{self.table}.")
        beside = f" LEFT JOIN {self.table}_kept ON {self.table}_kept.key = {key}" if self.kept else ""
        return f"FROM {self.table} LEFT JOIN sums ON sums.of = '{self.table}' AND sums.key = {key}{beside}"

    def _told(self, row: str) -> str:
        told = " || ',' || ".join(f"quote({row}{name})" for name in self.columns.split())
        return f"CAST({told} AS BLOB)"

    def schema(self) -> str:
        """What keeps the sums, and those of the rows that are there."""
        table, last, put = self.table, "", _put(self.table, self.named("NEW."), self.sum("NEW."))
        made = f"INSERT INTO sums SELECT '{table}', {self.named()}, {self.sum()} FROM {table};"
        keep = drop = ""
        change, changing = put, ""
        if self.counts:
            last = _put(f"last of {table}", "0", f"NEW.{self.key.strip('{}')}")
        if names := self.kept.split():
            made += f"\nCREATE TABLE {table}_kept (key PRIMARY KEY, {', '.join(names)});"
            made += f"\nINSERT INTO {table}_kept SELECT {self.named()}, {', '.join(names)} FROM {table};"
            news = ", ".join(f"NEW.{name}" for name in names)
            keep = f"INSERT INTO {table}_kept VALUES ({self.named('NEW.')}, {news});"
            drop = f"DELETE FROM {table}_kept WHERE key = {self.named('OLD.')};"
            same = ", ".join(f"{name} = NEW.{name}" for name in names)
            change = f"UPDATE {table}_kept SET {same} WHERE key = {self.named('NEW.')};"
            changing = f" OF {', '.join(names)}"
        return f"""
{made}
CREATE TRIGGER {table}_summed_in AFTER INSERT ON {table}
BEGIN
    {put}
    {keep}
    {last}
END;
CREATE TRIGGER {table}_summed_on AFTER UPDATE{changing} ON {table}
BEGIN
    {change}
END;
CREATE TRIGGER {table}_summed_out AFTER DELETE ON {table}
BEGIN
    DELETE FROM sums WHERE of = '{table}' AND key = {self.named("OLD.")};
    {drop}
END;
"""


def _put(of: str, key: str, found: str) -> str:
    return f"INSERT INTO sums VALUES ('{of}', {key}, {found}) ON CONFLICT (of, key) DO UPDATE SET sum = excluded.sum;"


MASTER = Summed("sqlite_master", "{type} || ' ' || {name}", "type name tbl_name sql")


def sums_schema(tables: Sequence[Summed]) -> str:
    """The statements that give tables checksums; last in the step of a format."""
    columns = "of TEXT NOT NULL, key NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (of, key)"
    lasts = (
        f"INSERT INTO sums SELECT 'last of {one.table}', 0, seq FROM sqlite_sequence WHERE name = '{one.table}';"
        for one in tables
        if one.counts
    )
    made = f"INSERT INTO sums SELECT '{MASTER.table}', {MASTER.named()}, {MASTER.sum()} FROM {MASTER.table};"
    schemas = (table.schema() for table in tables)
    return "\n".join([f"CREATE TABLE sums ({columns}) WITHOUT ROWID;", *schemas, *lasts, made])


def unsound(database: Database, tables: Sequence[Summed]) -> Iterator[tuple[str, str]]:
    """(row, why) of each row that is not as it was written, cannot be read, was lost or came otherwise."""
    for table in tables:
        lost = "of <> 'sqlite_master'"  # one bit cannot take a statement away; of another one the key is not known
        rows = database.rows(
            f"SELECT key, why FROM (SELECT CAST({table.named(f'{table.table}.')} AS BLOB) AS key,"
            f" {table.problem()} AS why {table.joined()}) WHERE why IS NOT NULL"
            f" UNION ALL SELECT CAST(key AS BLOB), 'it was lost' FROM sums"
            f" WHERE {lost} AND of = '{table.table}' AND key NOT IN (SELECT {table.named()} FROM {table.table})",
            patience=Patience.LONG,
        )
        for key, why in rows:
            yield f"{table.table} {bytes(key or b'').decode(errors='replace')}", why
        if table.counts:
            last = f"SELECT seq FROM sqlite_sequence WHERE name = '{table.table}'"
            told = f"SELECT sum FROM sums WHERE of = 'last of {table.table}'"
            if database.rows(f"SELECT ({last}) IS NOT ({told})")[0][0]:
                yield f"the last number of {table.table}", "it is not as it was written"
