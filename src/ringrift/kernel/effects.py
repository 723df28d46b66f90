"""Effects: what acts on events themselves. Each event reaches each effect at least once, in order for its key.

An event whose effect fails holds its key: later events of the key wait, those of other keys go on. It is tried again
after 1, 2, 4 … seconds; after its last attempt it becomes a dead letter, kept until somebody replays or purges it, and
the key goes on. How far an effect is stands in the registry: `effect/NAME`, `dead/NAME/SEQUENCE`. A process that dies
between an effect and the registry repeats events: each has a delivery id, by which the effect's sink knows it again.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic

from ringrift.clock import LONGEST_WAIT, back_off
from ringrift.errors import DataError, JobError, unknown
from ringrift.fabric import Fabric, LogEntry, Registry
from ringrift.kernel.bus import event_of
from ringrift.kernel.events import Event
from ringrift.kernel.service import C, Context, Service, Step, Stopped
from ringrift.observe.breakers import Unavailable
from ringrift.observe.logs import bound, log

BATCH = 1000  #: events between two writes of the cursor
EVERY_SECONDS = 1.0  #: how late a repetition may come


@dataclass(frozen=True)
class Delivery:
    """An event on its way to an effect."""

    event: Event
    entry: LogEntry
    id: str
    """Id of the delivery, the same at each attempt."""
    attempt: int


@dataclass(frozen=True)
class Effect(Generic[C]):
    """A row of a project's effects."""

    name: str
    run: Callable[[Delivery, C], object]
    on: tuple[type[Event], ...]
    attempts: int = 6
    timeout: float = 120.0
    """Seconds that a tick's deliveries may take."""
    looks_on: bool = False
    """Takes whatever there is: an event that it alone hears has no listener."""


@dataclass(frozen=True)
class Hold:
    """The event at which a key stands still."""

    sequence: int
    attempts: int
    due: float
    """Unix time of the next attempt."""
    first: float
    """Unix time of the first one."""

    def is_due(self, now: float) -> bool:
        """Whether it is time; also where it is further away than anybody waits: the clock was set back."""
        return not 0 < self.due - now <= LONGEST_WAIT


@dataclass(frozen=True)
class DeadLetter:
    """An event that an effect could not take."""

    effect: str
    entry: LogEntry
    error: str
    """What was raised, with its traceback."""
    attempts: int
    first: float
    """Unix time of the first attempt …"""
    last: float
    """… and of the last."""


class Progress:
    """How far an effect is; a row of the registry."""

    def __init__(self, registry: Registry, effect: str) -> None:
        self._registry, self._effect = registry, effect
        entry = registry.get(f"effect/{effect}")
        self._revision = entry.revision if entry else 0
        value: Mapping[str, Any] = entry.value if entry else {}
        self.cursor = int(value.get("cursor", 0))
        self.held = {str(key): Hold(**hold) for key, hold in value.get("held", {}).items()}
        self._saved = self._value()

    def _value(self) -> dict[str, object]:
        return {"cursor": self.cursor, "held": {key: asdict(hold) for key, hold in self.held.items()}}

    def save(self, ctx: Context) -> None:
        """Raises `JobError` where another process delivers to the same effect."""
        value = self._value()
        if value == self._saved:
            return
        name = f"effect/{self._effect}"
        if self._registry.compare_and_set(name, value, self._revision, lease=ctx.lease) is None:
            raise JobError(f"another process delivers to effect {self._effect!r} too: stop one of them")

    def needed(self) -> int:
        """The last event that is not needed any more."""
        return min([self.cursor, *(hold.sequence - 1 for hold in self.held.values())])


def deliver(effect: Effect[C], ctx: C, limit: int = BATCH) -> int:
    """One batch: keys held until now, then up to `limit` new events; how many new ones there were. Raises `Stopped`."""
    progress = Progress(ctx.run.fabric.registry, effect.name)
    batch = _Batch(effect, ctx, progress, limit)
    try:
        for key, hold in list(progress.held.items()):
            if hold.is_due(ctx.clock.now()):
                batch.catch_up(key, hold)
        return batch.go_on()
    finally:
        progress.save(ctx)


@dataclass(frozen=True)
class _Batch(Generic[C]):
    """Deliveries to one effect, from where its progress stands."""

    effect: Effect[C]
    ctx: C
    progress: Progress
    limit: int

    def go_on(self) -> int:
        """Up to `limit` events after the cursor, but those whose key is held; how many there were."""
        last = self.ctx.bus.log.last()
        found = self._events(self.progress.cursor)
        for entry in found:
            if entry.key not in self.progress.held:
                self._take(entry)
            self.progress.cursor = entry.sequence
        if len(found) < self.limit:  # whatever else there is was for others
            self.progress.cursor = max(self.progress.cursor, last)
        return len(found)

    def catch_up(self, key: str, hold: Hold) -> None:
        """A held key's events up to the cursor; none is held any more, or the one at which it now stands still."""
        after = hold.sequence - 1
        while late := [entry for entry in self._events(after, key) if entry.sequence <= self.progress.cursor]:
            for entry in late:
                if not self._take(entry):
                    return
                after, now = entry.sequence, self.ctx.clock.now()
                self.progress.held[key] = Hold(after + 1, 0, now, now)  # what follows still waits, should we stop here
        del self.progress.held[key]

    def _events(self, after: int, key: str | None = None) -> list[LogEntry]:
        names = [event.__name__ for event in self.effect.on]
        return self.ctx.bus.log.read(after, self.limit, types=names, key=key)

    def _take(self, entry: LogEntry) -> bool:
        """Delivers one event; false where its key has to wait."""
        self.ctx.checkpoint()
        progress, now = self.progress, self.ctx.clock.now()
        held = progress.held.get(entry.key)
        if held is None or held.sequence != entry.sequence:
            held = Hold(entry.sequence, 0, now, now)
        try:
            _run(self.effect, entry, held.attempts + 1, self.ctx)
        except Stopped:
            progress.held[entry.key] = held
            raise
        except Unavailable as error:
            progress.held[entry.key] = replace(held, due=now + error.seconds)
            return False
        except Exception as error:  # noqa: BLE001 - whatever an effect raises is kept with its event
            attempts, text = held.attempts + 1, "".join(traceback.format_exception(error))
            if attempts >= self.effect.attempts:
                _bury(DeadLetter(self.effect.name, entry, text, attempts, held.first, now), self.ctx)
                return True
            progress.held[entry.key] = replace(held, attempts=attempts, due=now + back_off(attempts))
            log.warning("effect failed", effect=self.effect.name, sequence=entry.sequence, attempt=attempts, error=text)
            return False
        return True


def _run(effect: Effect[C], entry: LogEntry, attempt: int, ctx: C) -> None:
    published = event_of(entry)
    if published is None:
        raise DataError(f"this release knows no event {entry.type!r}")
    with bound(sequence=entry.sequence, effect=effect.name):
        effect.run(Delivery(published.event, entry, f"{effect.name}/{entry.id}", attempt), ctx)


def service_of(effect: Effect[C]) -> Service[C]:
    """The service that delivers to an effect."""

    def drain(ctx: C) -> None:
        end = ctx.clock.monotonic() + effect.timeout / 2
        while deliver(effect, ctx) == BATCH:
            if ctx.clock.monotonic() > end:
                ctx.wake(name)
                return

    def plan(ctx: C) -> Iterator[Step]:
        progress = Progress(ctx.run.fabric.registry, effect.name)
        new, now = ctx.bus.log.last() - progress.cursor, ctx.clock.now()
        again = [key for key, hold in progress.held.items() if hold.is_due(now)]
        if new > 0 or again:
            why = f"{new} new events, {len(again)} to be tried again"
            yield Step(f"deliver events to {effect.name}", why, lambda: drain(ctx))

    name = f"effect-{effect.name}"
    backlog = lambda ctx: float(depth(effect.name, ctx.run.fabric))  # noqa: E731
    return Service(name, plan, EVERY_SECONDS, on=effect.on, timeout=effect.timeout, backlog=backlog, quiet=True)


def depth(effect: str, fabric: Fabric) -> int:
    """How many events are between an effect and the end of the log, held keys counted once."""
    progress = Progress(fabric.registry, effect)
    return max(0, fabric.log.last() - progress.cursor) + len(progress.held)


def delivered(fabric: Fabric, effects: Sequence[Effect[Any]]) -> int:
    """The last event that no effect needs any more: up to there the log may be purged."""
    return min((Progress(fabric.registry, effect.name).needed() for effect in effects), default=fabric.log.last())


def purge_events(fabric: Fabric, effects: Sequence[Effect[Any]], before: float) -> int:
    """Forgets events of before a Unix time that no effect needs any more; how many."""
    end, up_to = delivered(fabric, effects), 0
    while found := [entry for entry in fabric.log.read(up_to, BATCH) if entry.sequence <= end and entry.at < before]:
        up_to = found[-1].sequence
    return fabric.log.purge(up_to) if up_to else 0


# -- dead letters ------------------------------------------------------------------------------------------------------


def _bury(letter: DeadLetter, ctx: Context) -> None:
    ctx.run.fabric.registry.set(f"dead/{letter.effect}/{letter.entry.sequence:012}", asdict(letter), lease=ctx.lease)
    log.error("dead letter", effect=letter.effect, sequence=letter.entry.sequence, error=letter.error)


def dead_letters(registry: Registry, effect: str = "") -> list[DeadLetter]:
    """Dead letters of one effect or of all, by effect and sequence."""
    prefix = f"dead/{effect}/" if effect else "dead/"
    return [_letter(entry.value) for entry in registry.ls(prefix)]


def _letter(value: Mapping[str, Any]) -> DeadLetter:
    return DeadLetter(**{**value, "entry": LogEntry(**value["entry"])})


def replay(effect: str, sequence: int, ctx: C, effects: Sequence[Effect[C]]) -> None:
    """Runs the effect that failed, once more; the dead letter goes when it succeeds.

    Raises `DataError` where there is no such letter or it fails again, `JobError` while somebody else replays it.
    """
    table = {row.name: row for row in effects}
    if effect not in table:
        raise DataError(unknown("effect", effect, table))
    registry, key = ctx.run.fabric.registry, f"dead/{effect}/{sequence:012}"
    lease = ctx.run.fabric.leases.acquire(f"replay/{effect}/{sequence}", ttl=2 * table[effect].timeout)
    try:
        entry = registry.get(key)
        if entry is None:
            raise DataError(f"effect {effect!r} has no dead letter {sequence}: see `ringrift events dead`")
        letter = _letter(entry.value)
        try:
            _run(table[effect], letter.entry, letter.attempts + 1, ctx)
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            again = replace(letter, error=text, attempts=letter.attempts + 1, last=ctx.clock.now())
            registry.set(key, asdict(again), lease=lease)
            raise DataError(f"{effect} failed again with event {sequence}: {type(error).__name__}: {error}") from error
        registry.delete(key, lease=lease)
    finally:
        lease.release()


def purge_dead(registry: Registry, effect: str = "", sequence: int | None = None) -> int:
    """Forgets dead letters; how many."""
    letters = [x for x in dead_letters(registry, effect) if sequence is None or x.entry.sequence == sequence]
    return sum(registry.delete(f"dead/{letter.effect}/{letter.entry.sequence:012}") for letter in letters)
