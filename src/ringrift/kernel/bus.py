"""Events on the fabric's log: publishing, and reading them back typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ringrift.fabric import Log, LogEntry
from ringrift.kernel.events import Event, type_of

E = TypeVar("E", bound=Event, covariant=True)


@dataclass(frozen=True)
class Published(Generic[E]):
    """An event and where the log has it."""

    event: E
    entry: LogEntry

    @property
    def sequence(self) -> int:
        return self.entry.sequence


class Bus:
    """Typed events over a log."""

    def __init__(self, log: Log, source: str) -> None:
        self.log = log
        self.source = source
        """Who publishes here: service or job, and process."""

    def publish(self, event: Event, *, parent: int | None = None, id_: str | None = None) -> int:
        """Its sequence number. An event whose id is in the log is there already, and keeps its number.

        `id_` defaults to a hash of type, payload and parent.
        """
        kind, payload = type(event).__name__, event.model_dump(mode="json")
        if id_ is None:
            text = json.dumps([kind, payload, parent], sort_keys=True)
            id_ = hashlib.sha256(text.encode()).hexdigest()[:32]
        entry = LogEntry(kind, payload, id_, event.config, parent, event.version, self.source)
        return self.log.append([entry])[0]

    def last(self, kind: type[E], config: str | None = None) -> Published[E] | None:
        """The newest event of a type, about `config` where given."""
        found = self.log.tail(1, types=[kind.__name__], key=config)
        return read(found[0], kind) if found else None

    def read(self, kind: type[E], config: str | None = None, after: int = 0) -> Iterator[Published[E]]:
        """All events of a type, in order."""
        while found := self.log.read(after, types=[kind.__name__], key=config):
            yield from (read(entry, kind) for entry in found)
            after = found[-1].sequence


def read(entry: LogEntry, kind: type[E]) -> Published[E]:
    """A typed view of an entry; fields that this release does not know stay unread."""
    fields = kind.model_fields
    known = {name: value for name, value in entry.payload.items() if name in fields}
    return Published(kind.model_validate(known), entry)


def event_of(entry: LogEntry) -> Published[Event] | None:
    """A typed view of an entry; none for a type that this release does not know."""
    kind = type_of(entry.type)
    return read(entry, kind) if kind else None
