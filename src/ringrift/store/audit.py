"""The audit: a share of the games of networks is searched again, and a share of all games is replayed again.

A mark per config (`audit/<config>` in the registry) says up to which game this was done, so that an audit that was
killed goes on. Which games are looked at follows from the run's identity, and cannot be told from outside.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import ringrift
from ringrift.analysis.replay import disputed
from ringrift.errors import CorruptBlob, DataError, check_fields
from ringrift.evaluators import Evaluator
from ringrift.fabric.database import Patience
from ringrift.store.games import GameStore, StoredGame
from ringrift.store.run import RunDirectory
from ringrift.store.validate import game_problem

ROUNDING = 0.05  #: difference of a probability that another machine's arithmetic may make
MOST = 500  #: old games replayed again in one audit


@dataclass(frozen=True)
class AuditSettings:
    """Which games are looked at again."""

    share: float = 0.01
    """Of the new games of networks, searched again from their seeds: the move, policy or value that comes out
    differently quarantines the game; 0 for none."""
    recheck: float = 0.01
    """Of all games, replayed again in each audit, at most 500; an audit is made once a day, or after 1,000 games."""

    def __post_init__(self) -> None:
        check_fields(self, lambda value: 0 <= value <= 1, "0 to 1", "share", "recheck")


@dataclass
class Audited:
    """What one audit did."""

    searched: int = 0
    """games searched again"""
    replayed: int = 0
    """games replayed again"""
    skipped: int = 0
    """chosen games whose model has no files any more, that another release played, or that do not say how they were
    searched"""
    quarantined: list[str] = field(default_factory=list)
    """game, worker and reason of each that came out differently"""


def mark_of(run: RunDirectory, config: str) -> tuple[int, float]:
    """Up to which game a config is audited, and when that was."""
    entry = run.fabric.registry.get(f"audit/{config}")
    return (int(str(entry.value["up_to"])), float(str(entry.value["at"]))) if entry else (0, 0.0)


def reach(run: RunDirectory, config: str) -> int:
    """Up to which game a config can be audited: the newest of the run, or the one before the first without a judge."""
    query = (
        "SELECT coalesce((SELECT min(id) - 1 FROM games WHERE state = 'received' AND +config = ?), max(id), 0) AS id"
    )
    return int(run.database.rows(f"{query} FROM games", [config])[0]["id"])


def is_chosen(run: RunDirectory, game: int, share: float) -> bool:
    """Whether a game is one of those that are searched again."""
    digest = hashlib.blake2b(f"{run.identity}/audit/{game}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * 2.0**64


def audit(
    run: RunDirectory,
    config: str,
    settings: AuditSettings,
    evaluator: Callable[[str], Evaluator],
    now: float,
    progress: Callable[[int], object] = lambda game: None,
) -> Audited:
    """Audits the games since the mark and a sample of all; `evaluator` gives a model's. `progress` gets game ids.

    `evaluator` raises `DataError` for a model that has no files.
    """
    found, store, (start, _) = Audited(), GameStore(run), mark_of(run, config)
    newest = max(start, reach(run, config))
    searched = run.database.rows(
        "SELECT id FROM games WHERE id > ? AND id <= ? AND +config = ? AND +state = 'valid' AND +retraction IS NULL"
        " AND +model <> '' ORDER BY id", [start, newest, config], Patience.LONG,
    )  # fmt: skip
    for number in (row["id"] for row in searched if is_chosen(run, row["id"], settings.share)):
        for game in store.sound([number], config):  # none where somebody quarantined it meanwhile
            _search_again(store, game, evaluator, now, found)
        run.fabric.registry.set(f"audit/{config}", {"up_to": number, "at": now})
        progress(number)
    _replay_again(store, config, settings, newest, now, found)
    run.fabric.registry.set(f"audit/{config}", {"up_to": newest, "at": now})
    return found


def _search_again(
    store: GameStore, game: StoredGame, evaluator: Callable[[str], Evaluator], now: float, found: Audited
) -> None:
    about = store.about(game.id)
    if about["code_version"] != ringrift.__version__:  # its searches may differ by right
        found.skipped += 1
        return
    tolerance = 0.0 if about["machine"] == socket.gethostname() else ROUNDING
    try:
        network = evaluator(str(about["model"]))
    except DataError:
        found.skipped += 1
        return
    try:
        reason = disputed(game.read(), network, tolerance)
    except CorruptBlob as error:
        reason = str(error)
    except DataError:
        found.skipped += 1
        return
    found.searched += 1
    store.mark_audited(game.id, now)
    if reason is not None:
        _quarantine(store, game, about, f"searched again it came out differently: {reason}", found)


def _replay_again(
    store: GameStore, config: str, settings: AuditSettings, newest: int, now: float, found: Audited
) -> None:
    wanted = min(MOST, round(settings.recheck * newest))
    seed = hashlib.blake2b(f"{store.run.identity}/replay/{newest}/{now}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    for number in sorted((1 + rng.choice(newest, wanted, replace=False)).tolist()) if newest else ():
        for game in store.sound([number], config):
            found.replayed += 1
            if (reason := game_problem(store.run, game)) is not None:
                _quarantine(store, game, store.about(game.id), f"it was sound before: {reason}", found)


def _quarantine(store: GameStore, game: StoredGame, about: dict[str, object], reason: str, found: Audited) -> None:
    store.judge([(game.id, reason)])
    found.quarantined.append(f"game {game.id} of {about['worker']}: {reason}")
