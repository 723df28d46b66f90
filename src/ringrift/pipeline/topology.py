"""Who publishes which event and who hears it, from the tables: checked at the start, drawn, and written to the docs."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ringrift.errors import SettingsError
from ringrift.pipeline import events as e
from ringrift.pipeline.effects import Effect
from ringrift.pipeline.events import EVENTS, Event
from ringrift.pipeline.service import Service
from ringrift.pipeline.table import KINDS

OUTSIDE: Mapping[str, tuple[type[Event], ...]] = {
    "loop": (e.LoopStarted, e.LoopStopped),
    "by hand": (e.ModelPromoted, e.ModelRejected, e.ModelRolledBack, e.GamesAudited, e.CleanedUp),
}
"""Emitters that are neither services nor jobs."""
REQUIRED: Mapping[type[Event], str] = {
    e.SelfplayFinished: "ingest",
    e.GamesValidated: "export",
    e.SamplesExported: "train",
    e.TrainingFinished: "evaluate",
    e.MatchFinished: "gate",
    e.ModelPromoted: "selfplay",
}
"""Subscriptions without which the loop would stand still until somebody looks: event → service."""
RECORDED: Mapping[type[Event], str] = {
    e.LoopStarted: "the root of causes",
    e.LoopStopped: "for `ringrift events`",
    e.WorkerSetAside: "the alert `worker-set-aside` tells",
    e.WorkerReleased: "the alert is cleared",
    e.ServiceFailed: "the alert `service-failing` tells",
    e.ServiceRecovered: "the alert is cleared",
    e.ServiceStalled: "the alert `service-stalled` tells",
    e.BackupFinished: "for `ringrift events`",
    e.GamesAudited: "for `ringrift events`",
    e.CleanedUp: "for `ringrift events`",
}
"""Events that nobody acts on, and why they are kept."""


@dataclass(frozen=True)
class Topology:
    """Names by name of the event."""

    emitters: Mapping[str, tuple[str, ...]]
    listeners: Mapping[str, tuple[str, ...]]


def topology(services: Sequence[Service], effects: Sequence[Effect]) -> Topology:
    """Of these services and effects, with all kinds of job."""
    emitters: defaultdict[str, list[str]] = defaultdict(list)
    listeners: defaultdict[str, list[str]] = defaultdict(list)
    for kind in KINDS.values():
        emitters[kind.emits.__name__].append(f"job {kind.name}")
    for name, emits in [*OUTSIDE.items(), *((service.name, service.emits) for service in services)]:
        for event in emits:
            emitters[event.__name__].append(name)
    for name, on, looks_on in [
        *((service.name, service.on, False) for service in services),
        *((f"effect {effect.name}", effect.on, effect.looks_on) for effect in effects),
    ]:
        for event in on if not looks_on else ():
            listeners[event.__name__].append(name)
    return Topology(
        {name: tuple(names) for name, names in emitters.items()},
        {name: tuple(names) for name, names in listeners.items()},
    )


def check(services: Sequence[Service], effects: Sequence[Effect]) -> None:
    """Raises `SettingsError` where something is heard that nobody publishes, or a required subscription is missing.

    A table without any service of `REQUIRED` is no loop, and may be anything.
    """
    if {service.name for service in services}.isdisjoint(REQUIRED.values()):
        return
    found = topology(services, effects)
    for kind, name in REQUIRED.items():
        if name not in found.listeners.get(kind.__name__, ()):
            raise SettingsError(f"service {name!r} is missing, or does not hear {kind.__name__}: put it in its `on`")
    for event, names in found.listeners.items():
        if event not in found.emitters:
            raise SettingsError(f"{names[0]} hears {event}, which nobody publishes: name it in some `emits`")


def loose(services: Sequence[Service], effects: Sequence[Effect]) -> list[str]:
    """What is wrong with the whole: events without an emitter, and without a listener or a reason to have none."""
    found = topology(services, effects)
    problems = [f"nobody publishes {name}" for name in EVENTS if name not in found.emitters]
    recorded = {event.__name__ for event in RECORDED}
    problems += [f"nobody hears {name}" for name in EVENTS if name not in found.listeners and name not in recorded]
    problems += [f"{name} is heard, and need not be in RECORDED" for name in recorded & set(found.listeners)]
    return problems


def edges(found: Topology) -> Iterator[tuple[str, str, str]]:
    """(emitter, event, listener), listener empty where there is none."""
    for event in EVENTS:
        for emitter in found.emitters.get(event, ()):
            for listener in found.listeners.get(event, ()) or ("",):
                yield emitter, event, listener


def mermaid(found: Topology) -> str:
    """Emitters → events → listeners."""
    arrows = {f"    {_id(a)}[{a}] --> {event}([{event}])" for a, event, _ in edges(found)}
    arrows |= {f"    {event} --> {_id(b)}[{b}]" for _, event, b in edges(found) if b}
    return "\n".join(["flowchart LR", *sorted(arrows)])


def dot(found: Topology) -> str:
    """The same for Graphviz."""
    arrows = {f'    "{a}" -> "{event}";' for a, event, _ in edges(found)}
    arrows |= {f'    "{event}" -> "{b}";' for _, event, b in edges(found) if b}
    shapes = [f'    "{event}" [shape=oval];' for event in EVENTS]
    return "\n".join(["digraph events {", "    rankdir=LR; node [shape=box];", *shapes, *sorted(arrows), "}"])


def service_graph(services: Sequence[Service]) -> str:
    """Mermaid: what comes after what (thick), and who wakes whom by which event."""
    found = topology(services, ())
    names = {service.name for service in services}
    lines = [f"    {_id(service.name)}[{service.name}]" for service in services]
    lines += [f"    {_id(other)} ==> {_id(service.name)}" for service in services for other in service.after]
    putters = {f"job {kind.name}": kind.service for kind in KINDS.values()}
    woken = {(putters.get(a, a), event, b) for a, event, b in edges(found) if b}
    lines += [f"    {_id(a)} -- {event} --> {_id(b)}" for a, event, b in sorted(woken) if a in names]
    return "\n".join(["flowchart LR", *lines])


HEAD = """\
# Events

Generated by `make docs` (`ringrift events graph --markdown`) from the tables of events, services, kinds of job and
effects; do not edit.

An event says what has happened. It has a number in one sequence over the whole run, the number of the event that caused
it, and an id under which it is appended once. Services are woken by the events that they hear and look at the store;
effects act on the events themselves. The effect `log` writes each of them as a line of JSON. `ringrift events` shows
them; [operations.md](operations.md) says how."""
FIELDS = """\
## Fields

Each event has `config`: what it is about; empty where that is the whole run."""


def reference(found: Topology) -> str:
    """docs/events.md."""
    lines = [*HEAD.splitlines(), "", "| event | published by | heard by | what it says |", "|---|---|---|---|"]
    reasons = {event.__name__: f"– ({why})" for event, why in RECORDED.items()}
    for name, event in EVENTS.items():
        by = ", ".join(found.emitters.get(name, ()))
        heard = ", ".join(found.listeners.get(name, ())) or reasons.get(name, "")
        said = " ".join((inspect.getdoc(event) or "").split())
        lines.append(f"| `{name}` | {by} | {heard} | {said} |")
    lines += ["", *FIELDS.splitlines(), "", "| event | fields |", "|---|---|"]
    for name, event in EVENTS.items():
        lines.append(f"| `{name}` | {' '.join(f'`{field}`' for field in event.model_fields if field != 'config')} |")
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")
