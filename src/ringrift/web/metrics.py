"""What is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.registry import CollectorRegistry

if TYPE_CHECKING:
    from ringrift.web.room import Answer


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def moved(self, ai_type: str, difficulty: int, config: str, answer: Answer | None, seconds: float) -> None:
        """A move was asked for; `answer` None: it failed or was refused."""

    def swapped(self, config: str, model: str) -> None:
        """Another model plays from now on."""
