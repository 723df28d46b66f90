"""Models: what was trained from what, and which one plays.

The registry key `promoted/<config>`, changed by compare-and-set, is the only truth about what is promoted. Each of its
values tells the whole promotion, so the history kept here can always be completed from it after a crash.
"""

from __future__ import annotations

import json
import sqlite3
import time
from bisect import bisect
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ringrift.errors import CorruptBlob, DataError, unknown
from ringrift.fabric import Entry, Lease
from ringrift.fabric.database import read_json
from ringrift.store.run import RunDirectory

ID_DIGITS = 12


@dataclass(frozen=True)
class ModelInfo:
    """One model."""

    id: str
    """`m-` and the first digits of the checkpoint's content hash."""
    config: str
    role: str
    """`initial` (untrained weights), `candidate`, or whatever its maker says."""
    checkpoint: str
    """Blob of the safetensors checkpoint."""
    onnx: str | None
    """Blob of the exported network."""
    settings: dict[str, object]
    parents: tuple[str, ...]
    """Ids of the models whose weights or games went into it."""
    metrics: dict[str, object]
    added: float
    """Unix time."""
    pruned: float | None
    """Unix time at which its blobs were deleted."""
    window: tuple[tuple[int, int], ...] = ()
    """Games of its config that its own training learned from: (first, last) id of each range."""

    @property
    def has_network(self) -> bool:
        """Whether it can play: its exported network is there."""
        return self.onnx is not None and not self.pruned

    @property
    def network(self) -> str:
        """Blob of its exported network. Raises `DataError` where that is not there."""
        if self.onnx is None or self.pruned:
            raise DataError(f"{self.id} has no exported network: it was pruned, or never exported; name another model")
        return self.onnx


@dataclass(frozen=True)
class Promotion:
    """One change of what is promoted."""

    config: str
    revision: int
    model: str
    previous: str | None
    """What a rollback goes back to."""
    action: str
    """`promote` or `rollback`."""
    at: float
    """Unix time."""
    evidence: dict[str, object]
    """Why: the match and its figures."""


class ModelStore:
    """The models of a run."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._database, self._registry, self._blobs = run.database, run.fabric.registry, run.fabric.blobs

    def register(
        self,
        config: str,
        checkpoint: str,
        onnx: str | None,
        settings: Mapping[str, object],
        parents: Sequence[str] = (),
        metrics: Mapping[str, object] | None = None,
        role: str = "candidate",
        window: Iterable[int] = (),
    ) -> str:
        """The id of the model whose checkpoint is this blob; registering it again is a no-op.

        `window`: ids of the games that it learned from. Raises `DataError` where a blob or a parent is missing.
        """
        for blob in filter(None, (checkpoint, onnx)):
            self._blobs.path(blob)
        model = f"m-{checkpoint[:ID_DIGITS]}"
        with self._database.transaction() as connection:
            for parent in parents:
                self.show(parent)
            # Later than any other, also where the clock was set back: the newest model is the one registered last.
            connection.execute(
                "INSERT INTO models (id, config, role, checkpoint, onnx, settings, parents, metrics, added, window)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, max(?, (SELECT coalesce(max(added), 0) + 1e-6 FROM models)), ?)"
                " ON CONFLICT (id) DO NOTHING",
                (
                    model,
                    config,
                    role,
                    checkpoint,
                    onnx,
                    *map(json.dumps, (dict(settings), list(parents))),
                    json.dumps(dict(metrics or {})),
                    time.time(),
                    json.dumps(self._ranges(config, window)),
                ),
            )
            found = self.show(model)
            if found.checkpoint != checkpoint or found.config != config:
                raise DataError(f"{model} is already a model of {found.config} with checkpoint {found.checkpoint}")
            if found.pruned:
                connection.execute("UPDATE models SET pruned = NULL, onnx = ? WHERE id = ?", (onnx, model))
        return model

    def _ranges(self, config: str, window: Iterable[int]) -> list[tuple[int, int]]:
        """Ranges of ids with no other games of the config between: where configs take turns, there are still few."""
        ids = sorted(set(window))
        rows = self._database.rows(
            "SELECT id FROM games WHERE config = ? AND id BETWEEN ? AND ? ORDER BY id", [config, *(ids[:1] + ids[-1:])]
        ) if ids else []  # fmt: skip
        return ranges(ids, [row["id"] for row in rows])

    def annotate(self, model: str, **metrics: object) -> None:
        """Adds to a model's metrics: ratings, scores."""
        with self._database.transaction() as connection:
            merged = self.show(model).metrics | metrics
            connection.execute("UPDATE models SET metrics = ? WHERE id = ?", (json.dumps(merged), model))

    def ls(self, config: str | None = None, role: str | None = None) -> list[ModelInfo]:
        """The models, oldest first."""
        rows = self._database.rows(
            "SELECT * FROM models WHERE (?1 IS NULL OR config = ?1) AND (?2 IS NULL OR role = ?2) ORDER BY added, id",
            [config, role],
        )
        return [self._model(row) for row in rows]

    def look(self, config: str | None = None) -> tuple[list[ModelInfo], list[str]]:
        """The models as `ls` has them, and why of others the row cannot be read."""
        found, unreadable = list[ModelInfo](), list[str]()
        rows = self._database.rows("SELECT rowid FROM models WHERE ?1 IS NULL OR config = ?1 ORDER BY added", [config])
        for (row,) in rows:
            try:
                found += map(self._model, self._database.rows("SELECT * FROM models WHERE rowid = ?", [row]))
            except CorruptBlob as error:
                unreadable.append(str(error))
        return found, unreadable

    def newest(self, config: str, role: str) -> tuple[int, ModelInfo | None]:
        """How many models of a role there are, and the newest one whose files are there."""
        known = "FROM models WHERE config = ? AND role = ?"
        count = self._database.rows(f"SELECT count(*) {known}", [config, role])[0][0]
        rows = self._database.rows(
            f"SELECT * {known} AND pruned IS NULL ORDER BY added DESC, id DESC LIMIT 1", [config, role]
        )
        return count, self._model(rows[0]) if rows else None

    def show(self, model: str) -> ModelInfo:
        """One model by its whole id. Raises `DataError` for an unknown one."""
        rows = self._database.rows("SELECT * FROM models WHERE id = ?", [model])
        if not rows:
            raise DataError(
                unknown("model", model, [row["id"] for row in self._database.rows("SELECT id FROM models")])
            )
        return self._model(rows[0])

    def _model(self, row: sqlite3.Row) -> ModelInfo:
        fields, where = dict(row), f"model {row['id']}"
        for name, kind in (("settings", dict), ("parents", list), ("metrics", dict), ("window", list)):
            fields[name] = read_json(fields[name], kind, self._database, where)
        try:
            window = tuple((int(first), int(last)) for first, last in fields["window"])
        except (TypeError, ValueError) as error:
            raise CorruptBlob(f"{self._database}, {where} has no window ({error}): restore it from a backup") from error
        return ModelInfo(**fields | {"parents": tuple(map(str, fields["parents"])), "window": window})

    def resolve(self, config: str, name: str) -> ModelInfo:
        """The model meant by `best` (promoted), `initial`, or the beginning of an id. Raises `DataError`."""
        if name == "best":
            if (promoted := self.promoted(config)) is None:
                raise DataError(f"no model of {config} is promoted yet in {self.run.path}: train one, or name one")
            return self.show(promoted)
        models = self.ls(config)
        if name == "initial":
            found = [model for model in models if model.role == "initial"][:1]
        else:
            found = [model for model in models if model.id.startswith(name) or model.id[2:].startswith(name)]
        if len(found) != 1 or not name:
            known = ["best", "initial", *(model.id for model in models)]
            raise DataError(
                f"{name!r} means {len(found)} models of {config} in {self.run.path}: "
                + (f"give more of the id: {', '.join(m.id for m in found)}" if found else unknown("model", name, known))
            )
        return found[0]

    def promoted(self, config: str) -> str | None:
        """The id of the promoted model."""
        entry = self._registry.get(_key(config))
        return _promoted(entry) if entry else None

    def revision(self, config: str) -> int:
        """Number of the promotion in force: higher after each change; 0 while nothing is promoted."""
        entry = self._registry.get(_key(config))
        return entry.revision if entry else 0

    def promote(
        self,
        model: str,
        *,
        over: str | None,
        evidence: Mapping[str, object] | None = None,
        lease: Lease | None = None,
    ) -> bool:
        """Makes `model` the promoted one of its config if that is `over` (none: nothing is promoted) until now.

        False where something else is promoted meanwhile. Raises `LeaseLost` where `lease` has a new holder.
        """
        config = self.show(model).config
        return self._change(config, model, over, over, "promote", evidence or {}, lease)

    def champions(self, config: str) -> list[str]:
        """The promoted model, what it had replaced, and so on; none twice, none that was rolled back since."""
        history, found = self.history(config), list[str]()
        model = history[-1].model if history else None
        while model and model not in found:
            found.append(model)
            model = next((entry.previous for entry in reversed(history) if entry.model == model), None)
        return found

    def rollback(
        self,
        config: str,
        to: str | None = None,
        *,
        evidence: Mapping[str, object] | None = None,
        lease: Lease | None = None,
    ) -> str:
        """The id of the model that is promoted now: `to`, or what the promoted one had replaced.

        Raises `DataError` where there is no such model, or another process changes what is promoted.
        """
        history = self.history(config)
        current = history[-1] if history else None
        target = to or (current.previous if current else None)
        if current is None or target is None:
            why = f"{current.model} replaced none: name one with --to" if current else f"{config} has no promoted model"
            raise DataError(f"nothing to roll back to: {why}")
        before = [entry.previous for entry in history if entry.model == target and entry.action == "promote"]
        previous = before[-1] if before else None
        seen = {**(evidence or {}), "rolled_back_from": current.model}
        if not self._change(config, target, current.model, previous, "rollback", seen, lease):
            raise DataError(f"the promoted model of {config} was changed by another process: look, and try again")
        return target

    def _change(
        self,
        config: str,
        model: str,
        over: str | None,
        previous: str | None,
        action: str,
        evidence: Mapping[str, object],
        lease: Lease | None,
    ) -> bool:
        # The games database stays locked around the registry's change, so that `prune` cannot come between.
        with self._database.transaction():
            found = self.show(model)
            if found.pruned or found.config != config:
                why = "its files were pruned" if found.pruned else f"it is a model of {found.config}"
                raise DataError(f"{model} cannot be promoted for {config}: {why}")
            for blob in _blobs(found):
                self._blobs.check(blob)
            entry = self._registry.get(_key(config))
            current = _promoted(entry) if entry else None
            self._keep(config, entry)
            if current == model or current != over:
                return current == model
            value: dict[str, object] = {
                "model": model,
                "previous": previous,
                "action": action,
                "at": time.time(),
                "evidence": {**evidence},
            }
            written = self._registry.compare_and_set(_key(config), value, entry.revision if entry else 0, lease=lease)
            self._keep(config, written)
            return written is not None

    def history(self, config: str) -> list[Promotion]:
        """Every change of the promoted model, oldest first."""
        rows = self._database.rows("SELECT * FROM promotions WHERE config = ? ORDER BY revision", [config])
        found, entry = [self._promotion(row) for row in rows], self._registry.get(_key(config))
        if entry is not None and all(one.revision != entry.revision for one in found):  # killed before it was kept
            found.append(self._told(config, entry.revision, entry.value))
        return found

    def _promotion(self, row: sqlite3.Row) -> Promotion:
        where = f"promotion {row['revision']} of {row['config']}"
        return self._told(row["config"], row["revision"], read_json(row["value"], dict, self._database, where))

    def _told(self, config: str, revision: int, value: dict[str, object]) -> Promotion:
        if set(value) != {"model", "previous", "action", "at", "evidence"}:
            raise CorruptBlob(f"{self.run.path}: promotion {revision} of {config} tells {sorted(value)}, not all of it")
        fields: dict[str, Any] = value
        return Promotion(config, revision, **fields)

    def last_known(self) -> dict[str, Entry]:
        """By config, the value of `promoted/…` of which this run knows last, whatever the registry says."""
        newest = "revision = (SELECT max(revision) FROM promotions AS other WHERE other.config = promotions.config)"
        found = {}
        for row in self._database.rows(f"SELECT * FROM promotions WHERE {newest} ORDER BY config"):
            promotion = self._promotion(row)
            value = {name: item for name, item in asdict(promotion).items() if name not in ("config", "revision")}
            found[promotion.config] = Entry(_key(promotion.config), value, promotion.revision)
        return found

    def _keep(self, config: str, entry: Entry | None) -> None:
        if entry is not None:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO promotions (config, revision, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (config, entry.revision, json.dumps(entry.value)),
                )

    def prune(
        self, config: str, keep: int = 10, *, copied: Container[str] | None = None, dry_run: bool = False
    ) -> list[ModelInfo]:
        """Deletes the files of old models, and returns those models; what is known of them stays.

        Kept are the newest `keep`, the initial ones, every model that is or was promoted, and the parents of these;
        with `copied`, also those whose blobs are not all in it: what was copied elsewhere.
        """
        with ExitStack() as stack:
            connection = None if dry_run else stack.enter_context(self._database.transaction())
            models = [model for model in self.ls(config) if not model.pruned]
            promoted = {entry.model for entry in self.history(config)}
            roots = [model for model in models if model.id in promoted or model.role == "initial"]
            kept = {model.id for model in [*roots, *models[max(0, len(models) - keep) :]]}
            kept |= {parent for model in roots for parent in model.parents}
            gone = [model for model in models if model.id not in kept]
            if copied is not None:
                gone = [model for model in gone if all(blob in copied for blob in _blobs(model))]
            if connection is None:
                return gone
            connection.executemany(
                "UPDATE models SET pruned = ? WHERE id = ?", [(time.time(), model.id) for model in gone]
            )
        with self._database.transaction():  # none of these models can be registered again meanwhile
            needed = self.blobs()
            for blob in {blob for model in gone for blob in _blobs(model)} - needed:
                self._blobs.delete(blob)
        return gone

    def blobs(self) -> set[str]:
        """The blobs that models need."""
        return {blob for model in self.ls() if not model.pruned for blob in _blobs(model)}


def ranges(numbers: Iterable[int], others: Iterable[int] = ()) -> list[tuple[int, int]]:
    """The (first, last) of each run of consecutive numbers; with `others`, of those with none of them between."""
    ordered = sorted(set(numbers))
    apart = sorted(set(others).difference(ordered))
    found: list[tuple[int, int]] = []
    for number in ordered:
        near = found and (
            found[-1][1] == number - 1 if not others else bisect(apart, found[-1][1]) == bisect(apart, number)
        )
        if near:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def _blobs(model: ModelInfo) -> list[str]:
    return [blob for blob in (model.checkpoint, model.onnx) if blob]


def _key(config: str) -> str:
    return f"promoted/{config}"


def _promoted(entry: Entry) -> str:
    if not isinstance(model := entry.value.get("model"), str):
        raise CorruptBlob(f"{entry.key} in the registry names no model: `ringrift data repair DIR` sets it again")
    return model
