"""Parcels: what a job is given and what it has made, on its way between the store and whoever computes.

A file is a line of JSON (`format`, `about`, the sizes of the parts) and then the parts, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ringrift.errors import CorruptBlob, FormatTooNew
from ringrift.texts import read_json

FORMAT = 1
SUFFIX = ".parcel"
LENT = "lent/"  #: in the registry, by job: the blobs that are for it alone


@dataclass(frozen=True)
class Parcel:
    """A piece of the work of a job. Applying one twice is applying it once."""

    about: Mapping[str, Any] = field(default_factory=dict)
    """What it says, as JSON can hold it; the kind of job knows the names."""
    parts: Sequence[bytes] = ()
    """Records of games, or whatever else is bytes."""

    def to_bytes(self) -> bytes:
        """The parcel as a file."""
        head = {"format": FORMAT, "about": dict(self.about), "sizes": [len(part) for part in self.parts]}
        return b"".join([json.dumps(head).encode(), b"\n", *self.parts])

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The parcel in a file. Raises `CorruptBlob` or `FormatTooNew`."""
        line, _, rest = content.partition(b"\n")
        try:
            head = read_json(line)
            if (found := head["format"]) > FORMAT:
                raise FormatTooNew(f"a parcel has format {found}; this release reads up to {FORMAT}")
            parts, start = [], 0
            for size in head["sizes"]:
                parts.append(rest[start : start + size])
                start += size
            if start != len(rest) or not isinstance(head["about"], dict):
                raise ValueError(f"its parts have {start} bytes, and {len(rest)} are there")
        except (ValueError, LookupError, TypeError) as error:
            raise CorruptBlob(f"this is no parcel of a job, or a damaged one: {error}") from error
        return cls(head["about"], parts)
