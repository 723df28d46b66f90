"""Who publishes which event and who hears it, from a project's tables; checked when it starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ringrift.errors import SettingsError
from ringrift.kernel.project import Project


@dataclass(frozen=True)
class Topology:
    """Names by name of the event."""

    emitters: Mapping[str, tuple[str, ...]]
    listeners: Mapping[str, tuple[str, ...]]


def topology(project: Project[Any]) -> Topology:
    """Who publishes and who hears what, by a project's services, kinds of job and effects."""
    emitters: defaultdict[str, list[str]] = defaultdict(list)
    listeners: defaultdict[str, list[str]] = defaultdict(list)
    for kind in project.kinds.values():
        emitters[kind.emits.__name__].append(f"job {kind.name}")
    for name, emits in [*project.outside.items(), *((service.name, service.emits) for service in project.services)]:
        for event in emits:
            emitters[event.__name__].append(name)
    for name, on, looks_on in [
        *((service.name, service.on, False) for service in project.services),
        *((f"effect {effect.name}", effect.on, effect.looks_on) for effect in project.effects),
    ]:
        for event in on if not looks_on else ():
            listeners[event.__name__].append(name)
    return Topology(
        {name: tuple(names) for name, names in emitters.items()},
        {name: tuple(names) for name, names in listeners.items()},
    )


def check(project: Project[Any]) -> None:
    """Raises `SettingsError` where something is heard that nobody publishes, or a required subscription is missing.

    A table without any of the required services is a part of the project, and may be anything.
    """
    if {service.name for service in project.services}.isdisjoint(project.required.values()):
        return
    found = topology(project)
    for kind, name in project.required.items():
        if name not in found.listeners.get(kind.__name__, ()):
            raise SettingsError(f"service {name!r} is missing, or does not hear {kind.__name__}: put it in its `on`")
    for event, names in found.listeners.items():
        if event not in found.emitters:
            raise SettingsError(f"{names[0]} hears {event}, which nobody publishes: name it in some `emits`")


def loose(project: Project[Any]) -> list[str]:
    """What is wrong with the whole: events without an emitter, and without a listener or a reason to have none."""
    found, names = topology(project), list(project.events)
    problems = [f"nobody publishes {name}" for name in names if name not in found.emitters]
    recorded = {event.__name__ for event in project.recorded}
    problems += [f"nobody hears {name}" for name in names if name not in found.listeners and name not in recorded]
    problems += [f"{name} is heard, and need not be among the recorded" for name in recorded & set(found.listeners)]
    return problems
