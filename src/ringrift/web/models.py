"""What plays: networks, how old they are, the levels that need them, and what is kept of them in memory."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from ringrift.players.ladder import LEVELS, ladder
from ringrift.rules import CONFIGS, config_info
from ringrift.web.admin import admin_only
from ringrift.web.errors import Refused
from ringrift.web.service import KEPT, KEPT_SECONDS, Service
from ringrift.wire import SIZES

if TYPE_CHECKING:
    from ringrift.web.networks import Network

MEGABYTE = 1_000_000


def router(service: Service) -> APIRouter:
    """`/ai/models`, `/ai/cache`, `/ai/reload_models`, `/ai/model_freshness`, `/internal/ladder/health`."""
    routes = APIRouter(tags=["models"])

    def playing() -> dict[str, Network]:
        own = service.networks
        return own.current | {f"{config}.canary": one for config, one in own.canaries.items()}

    @routes.get("/ai/models")
    def models() -> dict[str, Any]:
        """The networks that play, by config."""
        return {"models": {name: _file(one) for name, one in sorted(playing().items())}, "timestamp": time.time()}

    @routes.get("/ai/model_freshness")
    def freshness(
        stale_threshold_hours: Annotated[float, Query(ge=0, le=1e6, allow_inf_nan=False)] = 72.0,
    ) -> dict[str, Any]:
        """How old the network of each config is; a missing one counts as stale."""
        now, found = time.time(), dict[str, Any]()
        for config in CONFIGS:
            if (one := service.networks.current.get(config)) is None:
                found[config] = {"error": "not_found"}
                continue
            about = _file(one)
            age = max(0.0, now - about["modified"]) / 3600
            found[config] = {"path": about["path"], "modified": about["modified"], "age_hours": round(age, 2),
                             "size_mb": about["size_mb"], "stale": age > stale_threshold_hours}  # fmt: skip
        stale = sum(one.get("stale", True) for one in found.values())
        return {"models": found, "stale_count": stale, "total_configs": len(CONFIGS),
                "stale_threshold_hours": stale_threshold_hours, "timestamp": now}  # fmt: skip

    @routes.get("/ai/cache/stats")
    async def cache() -> dict[str, Any]:
        """How many players are kept ready."""
        return {"enabled": True, "count": service.seats, "max": KEPT, "ttl_sec": KEPT_SECONDS}

    @routes.delete("/ai/cache", dependencies=[admin_only(service)])
    async def clear() -> dict[str, Any]:
        """Forgets them; they are made again when they are asked for."""
        return {"status": "cache cleared", "instances_removed": service.forget()}

    @routes.post("/ai/reload_models", dependencies=[admin_only(service, missing=403)])
    def reload() -> dict[str, Any]:
        """Looks for newly promoted networks at once; what plays goes on meanwhile."""
        service.networks.refresh(again=True)
        removed, problems = service.forget(), service.networks.problems
        said = "; ".join(f"{config}: {why}" for config, why in problems.items())
        return {"status": "ok", "model_cache_cleared": True, "ai_instances_cleared": removed,
                "message": said or "the promoted networks are in play"}  # fmt: skip

    @routes.get("/internal/ladder/health")
    def ladder_health(
        board_type: str | None = None, num_players: int | None = None, difficulty: int | None = None
    ) -> dict[str, Any]:
        """Every level of every config: who plays it now, and whether the network that it is meant for is there."""
        if board_type is not None and board_type not in SIZES:
            raise Refused(400, f"Unsupported board_type={board_type[:40]!r}; expected one of {sorted(SIZES)}")
        if num_players is not None and num_players not in (2, 3, 4):
            raise Refused(400, "num_players must be 2, 3, or 4")
        if difficulty is not None and difficulty not in LEVELS:
            raise Refused(400, "difficulty must be between 1 and 10")
        tiers = [
            _tier(service, config, level)
            for config in sorted(CONFIGS)
            if board_type in (None, config_info(config).board) and num_players in (None, config_info(config).players)
            for level in ([difficulty] if difficulty else LEVELS)
        ]
        missing = sum("neural_net" in tier["artifacts"] and not tier["use_neural_net"] for tier in tiers)
        filters = {"board_type": board_type, "num_players": num_players, "difficulty": difficulty}
        summary = {
            "tiers": len(tiers), "overridden_tiers": sum(tier["overridden"] for tier in tiers),
            "missing_heuristic_profiles": 0, "missing_nnue_checkpoints": 0, "missing_neural_checkpoints": missing,
        }  # fmt: skip
        return {"generated_at": datetime.now(UTC).isoformat(), "filters": filters, "summary": summary, "tiers": tiers}

    return routes


def _file(network: Network) -> dict[str, Any]:
    about = network.path.stat()
    return {
        "path": network.path.name, "hash": _hash(network.path, about.st_mtime_ns),
        "size_mb": round(about.st_size / MEGABYTE, 3), "modified": about.st_mtime, "id": network.id,
        "source": network.source,
    }  # fmt: skip


@lru_cache(64)
def _hash(path: Path, _modified: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _tier(service: Service, config: str, level: int) -> dict[str, Any]:
    """One level of a config."""
    from ringrift.web.service import LEVEL_TYPES

    info, row, seated = config_info(config), ladder(config)[level - 1], service.seat(config, level)
    artifacts: dict[str, Any] = {}
    if row.fallback is not None:  # it is meant for a network
        artifacts["neural_net"] = {"model_id": seated.model, "match_count": int(seated.model is not None),
                                   "chosen": f"{seated.model}.onnx" if seated.model else None}  # fmt: skip
    heuristic = None if seated.model or level == 1 else "linear"
    if heuristic:
        artifacts["heuristic_profile"] = {"id": heuristic, "available": True, "source": "built_in"}
    return {
        "difficulty": level, "board_type": info.board, "num_players": info.players, "ai_type": LEVEL_TYPES[level - 1],
        "use_neural_net": seated.model is not None, "randomness": row.randomness,
        "think_time_ms": round(1000 * service.settings.deadlines[level - 1]), "model_id": seated.model,
        "heuristic_profile_id": heuristic, "overridden": config in service.settings.pins, "artifacts": artifacts,
        "fallback": seated.fallback,
    }  # fmt: skip
