"""Who made a game, and with what: kept with each one, so that games of a bad maker can be taken back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from typing import Any, Self

import ringrift

MODEL = re.compile(r"\bm-[0-9a-f]{12}\b")
_ONE_OF_ITS_KIND = secrets.token_hex(4)


def process_name() -> str:
    """Names this process, now and for ever: process ids come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_ONE_OF_ITS_KIND}"


@dataclass(frozen=True)
class Provenance:
    """What a game says of its making."""

    worker: str
    """Who had the job: `machine:process:token`, or another name of the maker."""
    machine: str = ""
    code_version: str = ""
    """Release that played it."""
    model: str = ""
    """Id of the model whose games these are; empty for the one among the players of the record, if any."""
    engines: tuple[str, ...] = ()
    """Engine or model per seat; empty for the players of the record."""
    seed: int | None = None
    """None for the record's."""
    settings: str = ""
    """Hash of the settings that it was played under."""
    generation: int = 0
    """How many candidates its config had when it was played."""
    process: str = ""
    """That played it, and may not judge it; empty where the worker is one."""

    @classmethod
    def here(cls, worker: str = "", settings: object = "", generation: int = 0) -> Self:
        """Of games that this process plays; `settings` is their hash, or a dataclass to be hashed."""
        if is_dataclass(settings) and not isinstance(settings, type):
            settings = settings_hash(asdict(settings))
        return cls(
            worker or process_name(), socket.gethostname(), ringrift.__version__, settings=str(settings),
            generation=generation, process=process_name(),
        )  # fmt: skip


@lru_cache(1 << 12)
def seated(players: tuple[str, ...]) -> tuple[str, str]:
    """The model among these players, or none, and their names as JSON."""
    return next((found[0] for name in players if (found := MODEL.search(name))), ""), json.dumps(players)


def settings_hash(values: Any) -> str:
    """16 hex digits of settings that JSON can say."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
