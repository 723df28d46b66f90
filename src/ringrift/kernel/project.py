"""What a project gives the kernel to run: its services with their kinds of job, its effects, events and alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from ringrift.kernel.effects import Effect
from ringrift.kernel.events import Event
from ringrift.kernel.health import RULES, Measured, Rule, measure
from ringrift.kernel.kind import Kind
from ringrift.kernel.service import C, Service


@dataclass(frozen=True)
class Project(Generic[C]):
    """Its tables."""

    services: Sequence[Service[C]]
    effects: Sequence[Effect[C]] = ()
    events: Mapping[str, type[Event]] = field(default_factory=dict)
    """All types that it knows, by name."""
    rules: Sequence[Rule] = RULES
    """When somebody is to be told of something."""
    measure: Callable[[C, Sequence[Effect[Any]]], Measured] = measure
    """What health looks at."""
    outside: Mapping[str, tuple[type[Event], ...]] = field(default_factory=dict)
    """Emitters that are neither services nor jobs, with what they publish."""
    required: Mapping[type[Event], str] = field(default_factory=dict)
    """Subscriptions without which nothing would go on until somebody looks: event → service."""
    recorded: Mapping[type[Event], str] = field(default_factory=dict)
    """Events that nobody acts on, and why they are kept."""

    @property
    def kinds(self) -> dict[str, Kind[Any, Any, Any, Any]]:
        """Kinds of job by name."""
        return {service.job.name: service.job for service in self.services if service.job}
