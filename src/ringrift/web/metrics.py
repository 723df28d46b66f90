"""What the service counts, as Prometheus text. The `ai_…` names are those of the dashboards of the game server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from ringrift.web.room import Answer

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)  #: seconds
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)  #: positions


class Metrics:
    """The metrics of one service, in a registry of their own; safe to call from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(name, help_, labels, registry=self.registry)

        def gauge(name: str, help_: str, *labels: str) -> Gauge:
            return Gauge(name, help_, labels, registry=self.registry)

        def histogram(name: str, help_: str, *labels: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
            return Histogram(name, help_, labels, registry=self.registry, buckets=buckets)

        self.moves = counter("ai_move_requests", "Moves asked for", "ai_type", "difficulty", "outcome")
        self.move_seconds = histogram("ai_move_latency_seconds", "Until a move was answered", "ai_type", "difficulty")
        self.cache_lookups = counter("ai_instance_cache_lookups", "Players looked for, kept ready or not", "ai_type",
                                     "outcome")  # fmt: skip
        self.cache_size = gauge("ai_instance_cache_size", "Players kept ready")
        self.requests = counter("ringrift_serve_requests", "Requests answered", "route", "method", "status")
        self.request_seconds = histogram("ringrift_serve_request_seconds", "Until the answer was sent", "route")
        self.in_flight = gauge("ringrift_serve_in_flight", "Requests that are being answered")
        self.errors = counter("ringrift_serve_errors", "Answers of status 500, counted before any handler")
        self.refused = counter("ringrift_serve_refused", "Requests refused before they reached an endpoint", "reason")
        self.decision_seconds = histogram("ringrift_serve_decision_seconds", "Until a move was decided", "config",
                                          "level")  # fmt: skip
        self.simulations = counter("ringrift_serve_simulations", "Simulations of the levels' budgets, and those made",
                                   "config", "level", "kind")  # fmt: skip
        self.fallbacks = counter("ringrift_serve_fallbacks", "Decisions by another player than the level's", "config",
                                 "level")  # fmt: skip
        self.cut = counter("ringrift_serve_deadlines", "Decisions cut short by their deadline", "config", "level")
        self.overload = counter("ringrift_serve_overload", "Requests beyond capacity, by their answer", "answer")
        self.cancelled = counter("ringrift_serve_cancelled", "Searches whose client had gone")
        self.waiting = gauge("ringrift_serve_waiting", "Decisions that are being searched or wait for it")
        self.batch = histogram("ringrift_serve_batch_positions", "Positions in a call of a network", buckets=BATCHES)
        self.swaps = counter("ringrift_serve_model_swaps", "Models that took the place of others", "config")
        self.model = gauge("ringrift_serve_model", "1 for each model that plays", "config", "model", "role")

    def moved(self, ai_type: str, level: int, config: str, answer: Answer | None, seconds: float) -> None:
        """A move was asked for; `answer` None: it failed or was refused."""
        self.moves.labels(ai_type, str(level), "error" if answer is None else "success").inc()
        if answer is None:
            return
        labels = config, str(level)
        self.move_seconds.labels(ai_type, str(level)).observe(seconds)
        self.decision_seconds.labels(*labels).observe(seconds)
        self.cut.labels(*labels).inc(answer.why == "deadline")
        if answer.asked is not None:
            self.simulations.labels(*labels, "asked").inc(answer.asked)
            self.simulations.labels(*labels, "spent").inc(answer.spent)

    def looked(self, ai_type: str, *, hit: bool, size: int) -> None:
        """A player was looked for among those that are kept ready."""
        self.cache_lookups.labels(ai_type, "hit" if hit else "miss").inc()
        self.cache_size.set(size)

    def swapped(self, config: str, model: str) -> None:
        """Another model plays from now on."""
        self.swaps.labels(config).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text form."""
        return generate_latest(self.registry)
