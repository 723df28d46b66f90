"""What can be set about the service of AI moves."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields

from ringrift.errors import check_fields, unknown
from ringrift.rules import CONFIGS

#: What happens to a request for a move while as many are being answered as there may be.
OVERLOADS = ("refuse", "quick")
#: As browsers send them: no path, no slash at the end, no capitals.
ORIGIN = re.compile(r"https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")


@dataclass(frozen=True)
class LimitSettings:
    """What one client may ask of the service."""

    rate: float = 1000.0
    """Requests per second of one address, on average; 0 for no limit. A game server is one address with all its
    games."""
    burst: int = 2000
    """Requests that it may make at once after a pause."""
    body_bytes: int = 128_000_000
    """Largest body, unpacked too: of 4,000 moves the `history`, which grows to 32 kB a move."""
    batch_bytes: int = 512_000_000
    """As `body_bytes`, for `/ai/moves_batch`: 64 states of 8 MB."""
    read_bytes: int = 4_000_000
    """What of it is read: all but the `history` of states. 4,000 moves have 1 MB."""
    batch_read: int = 16_000_000
    """As `read_bytes`, for `/ai/moves_batch`."""
    buffered_bytes: int = 64_000_000
    """What is read of bodies and held at a time, all together; what comes beyond is answered 503."""
    head_bytes: int = 32_768
    """Largest head of a request, its URL included."""
    head_seconds: float = 10.0
    """Within which the head of a request has to come, also the first one of a connection."""
    body_seconds: float = 10.0
    """Within which the body has to come."""
    connections: int = 1000
    """Open at a time; beyond that the one that has been idle longest ends, of the address that has most. Where none is
    idle, probes alone are answered, and the rest 503."""

    def __post_init__(self) -> None:
        others = (one.name for one in fields(self) if one.name != "rate")
        check_fields(self, lambda value: value > 0, "more than 0", *others)
        check_fields(self, lambda value: value >= 0, "more than 0, or 0 for no limit,", "rate")


@dataclass(frozen=True)
class ServeSettings:
    """The service that plays for the game server. Keys are never settings: `ADMIN_API_KEY` and `RINGRIFT_API_KEY` are
    read from the environment alone."""

    host: str = "127.0.0.1"
    """Where it listens; only this machine, unless told otherwise: then every request needs the key."""
    port: int = 8001
    """Its port."""
    threads: int = 0
    """Threads that search; 0 for as many as there are usable cores."""
    waiting: int = 128
    """Moves being decided and waiting at a time; what comes beyond is overload."""
    overload: str = "refuse"
    """Then: `refuse` answers 503 with Retry-After, `quick` a legal move without a search that says so."""
    deadlines: tuple[float, ...] = (0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 3.0, 8.0)
    """Seconds from the request to the answer at levels 1 to 10: by then a search gives the best move so far."""
    time_limit: float = 30.0
    """Seconds that any request may take; a move is decided in half of it."""
    pins: dict[str, str] = field(default_factory=dict)
    """Models by config, an id of the run or `shipped`, that play whatever is promoted."""
    canary: dict[str, str] = field(default_factory=dict)
    """Models by config that play a share of the games in place of the usual one."""
    canary_share: float = 0.1
    """That share; a game keeps its model."""
    poll: float = 2.0
    """Seconds between looks for a newly promoted model."""
    drain: float = 8.0
    """Seconds that requests have to be answered in when the service is told to stop."""
    cors_origins: str = ""
    """Origins, with commas between, whose pages may call; none by default."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    environment: str = "development"
    """In `production`, answers to unexpected failures tell nothing of what failed."""

    @property
    def origins(self) -> list[str]:
        """The origins of `cors_origins`."""
        return [one.strip() for one in self.cors_origins.split(",") if one.strip()]

    def __post_init__(self) -> None:
        check_fields(self, lambda value: 0 <= value < 65536, "1 to 65535, or 0 for any free one,", "port")
        check_fields(self, lambda value: 0 <= value <= 1024, "1 to 1024, or 0 for what suits,", "threads")
        check_fields(self, lambda value: value >= 1, "1 or more", "waiting")
        check_fields(self, lambda value: value > 0, "more than 0", "time_limit", "poll", "drain")
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", "canary_share")
        if self.overload not in OVERLOADS:
            raise ValueError(unknown("answer to overload", self.overload, OVERLOADS))
        if len(self.deadlines) != 10 or not all(0 < seconds < float("inf") for seconds in self.deadlines):
            raise ValueError("deadlines are ten, each above 0 seconds: for levels 1 to 10")
        for origin in self.origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cors_origins has {origin[:60]!r}; origins such as https://game.example, or *, are right"
                )
        for config in (*self.pins, *self.canary):
            if config not in CONFIGS:
                raise ValueError(unknown("config", config, CONFIGS))
