"""The audit: a share of the games of networks is searched again, and a share of all games is replayed again.

A mark per config (`audit/<config>` in the registry) says up to which game this was done, so that an audit that was
killed goes on. Which games are looked at follows from the run's identity, and cannot be told from outside.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

import ringrift
from ringrift.analysis.replay import disputed
from ringrift.errors import CorruptBlob, DataError, check_fields
from ringrift.evaluators import Evaluator
from ringrift.fabric import Parcel
from ringrift.fabric.database import Patience
from ringrift.store.games import GameStore, StoredGame
from ringrift.store.run import RunDirectory
from ringrift.store.validate import games_in, parcel_of, problem, row_problem

ROUNDING = 0.05  #: difference of a probability that another machine's arithmetic may make
MOST = 500  #: old games replayed again in one audit
MAKING = ("model", "worker", "machine", "code_version")  #: what an audit asks about the making of a game


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
    done = Audited()
    for found in look_again(to_audit(run, config, settings, now), evaluator):
        keep(run, config, found, done)
        progress(found.up_to)
    return done


@dataclass
class Found:
    """What was found of some games."""

    up_to: int
    """To here the games of the config are audited now."""
    at: float
    searched: list[int] = field(default_factory=list)
    replayed: int = 0
    skipped: int = 0
    wrong: list[tuple[int, str, str]] = field(default_factory=list)
    """Games that came out differently: id, worker, reason."""


def to_audit(run: RunDirectory, config: str, settings: AuditSettings, now: float) -> Parcel:
    """The games since the mark that are searched again, and the sample of all that are replayed."""
    store, (start, _) = GameStore(run), mark_of(run, config)
    newest = max(start, reach(run, config))
    rows = run.database.rows(
        "SELECT id FROM games WHERE id > ? AND id <= ? AND +config = ? AND +state = 'valid' AND +retraction IS NULL"
        " AND +model <> '' ORDER BY id", [start, newest, config], Patience.LONG,
    )  # fmt: skip
    searched = [row["id"] for row in rows if is_chosen(run, row["id"], settings.share)]
    wanted = min(MOST, round(settings.recheck * newest))
    seed = hashlib.blake2b(f"{run.identity}/replay/{newest}/{now}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(seed, "little"))
    replayed = sorted((1 + rng.choice(newest, wanted, replace=False)).tolist()) if newest else []
    games = sorted(store.sound([*searched, *replayed], config), key=lambda game: game.id)
    made = {str(game.id): {name: store.about(game.id)[name] for name in MAKING} for game in games}
    return parcel_of(run, games, searched=searched, replayed=replayed, made=made, up_to=newest, at=now)


def look_again(parcel: Parcel, evaluator: Callable[[str], Evaluator]) -> Iterator[Found]:
    """Searches and replays the games of a parcel of `to_audit` again; needs no database."""
    about = parcel.about
    games = {game.id: (game, row, about["made"][str(game.id)]) for game, row in games_in(parcel)}
    wrong = set[int]()
    for number in filter(games.__contains__, about["searched"]):
        found = Found(number, about["at"])
        _search_again(games[number][0], games[number][2], evaluator, found)
        wrong.update(game for game, _, _ in found.wrong)
        yield found
    found = Found(about["up_to"], about["at"])
    for number in (number for number in about["replayed"] if number in games and number not in wrong):
        game, row, made = games[number]
        found.replayed += 1
        if (reason := problem(game) or row_problem(game, row)) is not None:
            found.wrong.append((number, made["worker"], f"it was sound before: {reason}"))
    yield found


def keep(run: RunDirectory, config: str, found: Found, done: Audited) -> None:
    """Stores what was found, and adds it to `done`."""
    store = GameStore(run)
    for game in found.searched:
        store.mark_audited(game, found.at)
    for game, worker, reason in found.wrong:
        store.judge([(game, reason)])
        done.quarantined.append(f"game {game} of {worker}: {reason}")
    run.fabric.registry.set(f"audit/{config}", {"up_to": found.up_to, "at": found.at})
    done.searched += len(found.searched)
    done.replayed += found.replayed
    done.skipped += found.skipped


def _search_again(
    game: StoredGame, made: Mapping[str, str], evaluator: Callable[[str], Evaluator], found: Found
) -> None:
    if made["code_version"] != ringrift.__version__:  # its searches may differ by right
        found.skipped += 1
        return
    tolerance = 0.0 if made["machine"] == socket.gethostname() else ROUNDING
    try:
        network = evaluator(made["model"])
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
    found.searched.append(game.id)
    if reason is not None:
        found.wrong.append((game.id, made["worker"], f"searched again it came out differently: {reason}"))
