"""How commands show what they found: tables for people, one JSON document for programs."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import typer

#: Fields of rows that are Unix times.
TIMES = frozenset(
    "at added created audited quarantined_at pruned undone since until created_at finished_at started ended".split()
)


def print_json(document: Any) -> None:
    """`document` on standard output as JSON, for programs to read."""
    import json

    json.dump(document, sys.stdout, indent=1, default=str)
    sys.stdout.write("\n")


def tell_unreadable(reasons: Sequence[str]) -> None:
    """Says what could not be read beside what was; status 2 then."""
    for reason in reasons:
        typer.echo(f"unreadable: {reason}", err=True)
    if reasons:
        raise typer.Exit(2)


def print_row(row: dict[str, Any], *, json: bool) -> None:
    """One thing, a line for each of its fields."""
    if json:
        print_json(row)
        return
    for name, value in row.items():
        shown = cell(value) if isinstance(value, list | tuple) else value
        typer.echo(f"{name:14} {dated(name, value) or shown}")


def print_table(
    rows: Sequence[Mapping[str, Any]],
    otherwise: str = "",
    columns: Mapping[str, str] | Sequence[str] = (),
    *,
    json: bool = False,
    unreadable: Sequence[str] = (),
    **more: Any,
) -> None:
    """Rows in aligned columns; where there are none, what is said instead. As JSON they are `rows` of a document with
    `more`. What could not be read is told too, and then the status is 2.

    `columns` are the keys that are shown, all those of the first row by default; with headings, their numbers are
    measurements.
    """
    if json:
        print_json({"rows": rows} | more | ({"unreadable": unreadable} if unreadable else {}))
    elif not rows:
        typer.echo(otherwise)
    else:
        headings = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns or rows[0]}
        shown = measured if isinstance(columns, Mapping) else cell
        lines = [list(headings.values())]
        lines += [[dated(name, value := row.get(name)) or shown(value) for name in headings] for row in rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            typer.echo("  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip())
    tell_unreadable(unreadable)


def dated(name: str, value: Any) -> str | None:
    """What is shown of a time; none for other fields, or where there is no time."""
    return moment(value) if name in TIMES and isinstance(value, float) and value else None


def measured(value: Any) -> str:
    """A figure with its thousands apart."""
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value or "-")


def cell(value: Any) -> str:
    """A value as a table shows it; of a mapping, its single values."""
    if isinstance(value, dict):
        return " ".join(
            f"{key}={dated(key, item) or cell(item)}"
            for key, item in value.items()
            if isinstance(item, str | float | int)
        )
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        return " ".join(map(cell, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def moment(at: float) -> str:
    """A Unix time as tables show it: local."""
    try:
        return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(at)
