"""Text and JSON that others wrote: a byte order mark is skipped, and what cannot be read is refused in plain words."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from ringrift.errors import DataError

#: What text in UTF-16 begins with; the mark of UTF-8 is skipped by its codec.
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
SHOWN = 60  #: letters of a value in a sentence
MOST = 1 << 26  #: bytes of a text: settings and tables of anchors have some thousands
DIGITS = 64  #: of an integer: seeds and hashes of 128 bits have 39
#: Where an integer may have too many digits, or a number may be too large: only then is each number looked at.
_LARGE = re.compile(r"\d{20}|[eE]\+?\d{3}")


def encoding(begin: bytes) -> str:
    """How text is written that begins with these bytes."""
    return "utf-16" if begin.startswith(UTF_16) else "utf-8-sig"


def decoded(content: bytes) -> str:
    """The text, without its byte order mark. Raises ValueError, in words, for what is no text."""
    try:
        return content.decode(encoding(content))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8: byte {error.start} is {content[error.start]:#04x}") from error


def read_text(path: Path) -> str:
    """The text of a file. Raises `DataError`."""
    try:
        with path.open("rb") as file:
            if len(content := file.read(MOST + 1)) > MOST:
                raise ValueError(f"it has more than {MOST >> 20} MB")
        return decoded(content)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def read_json(content: str | bytes) -> Any:
    """The document. All of its numbers are finite.

    Raises ValueError, in words: no JSON, a number that is not finite, an integer of more than `DIGITS` digits, or
    deeper nesting than can be read.
    """
    text = decoded(content) if isinstance(content, bytes) else content.removeprefix("\ufeff")
    large = _LARGE.search(text) is not None
    try:
        return json.loads(
            text,
            parse_int=_integer if large else None,
            parse_float=_finite if large else None,
            parse_constant=_finite,
        )
    except RecursionError:
        raise ValueError("it is nested deeper than can be read") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from error


def read_toml(text: str) -> dict[str, Any]:
    """The tables. Raises ValueError, in words."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested deeper than can be read") from None


def why(error: Exception) -> str:
    """What a reader of a document ran into, without words of Python."""
    if isinstance(error, KeyError):
        return f"it lacks {shown(error.args[0] if error.args else None)}"
    if isinstance(error, ValueError):
        return str(error)
    return "a field in it is of another type or size than it should be"


def shown(value: object) -> str:
    """A value of a document in a few letters, for a sentence that refuses it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "an integer of very many digits"
    if value is not None and not isinstance(value, str | int | float | bool):
        return "bytes" if isinstance(value, bytes) else "a value of another kind"
    if isinstance(value, str):
        return repr(value[:SHOWN]) + "…" * (len(value) > SHOWN)
    return json.dumps(value)


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"an integer in it has {len(digits)} digits; at most {DIGITS} is right")
    return int(digits)


def _finite(number: str) -> float:
    if abs(found := float(number)) == float("inf") or found != found:
        raise ValueError(f"the number {number[:20]} in it is not finite")
    return found
