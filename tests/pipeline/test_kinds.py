"""Every kind of job: computed where there is no store, and applied once, however often and by how many at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored import finished

from ringrift.errors import CorruptBlob, FormatTooNew
from ringrift.evaluation.gauntlet import openings_digest
from ringrift.fabric import Parcel
from ringrift.fabric.local import LocalBlobs
from ringrift.kernel.kind import Advance, Kind, Payload, quiet
from ringrift.pipeline import Recipe, backup, evaluate, models, selfplay, smoke, train
from ringrift.pipeline.events import SelfplayFinished
from ringrift.pipeline.kind import Work, work_by_hand
from ringrift.pipeline.table import KINDS
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.check import needed_blobs
from ringrift.store.provenance import Provenance
from ringrift.store.samples import export
from ringrift.store.validate import validate

CONFIG = "square8_2p"
RECIPE = replace(smoke(Recipe()), loop=replace(smoke(Recipe()).loop, steps=2))
RECIPE = replace(RECIPE, audit=replace(RECIPE.audit, share=1.0, recheck=1.0))
PATH = ":".join([str(Path(__file__).parent), *sys.path])
COMPUTE = """
import sqlite3, sys
from pathlib import Path
def refused(*given, **named):
    raise AssertionError("computing opens no database")
sqlite3.connect = refused
from ringrift.fabric import Job
from ringrift.fabric.local import LocalBlobs
from ringrift.pipeline.events import SelfplayFinished
from ringrift.pipeline.kind import Work
from ringrift.pipeline.table import KINDS
sys.path[:] = sys.argv[3].split(":")
from test_kinds import CONFIG, RECIPE
kind, place = KINDS[sys.argv[1]], Path(sys.argv[2])
order = kind.order.model_validate_json((place / "order").read_bytes())
at = Work(Job("job", kind.name, CONFIG), LocalBlobs(place / "blobs"), place, recipe=RECIPE, settings="hash")
for number, parcel in enumerate(kind.compute(at, order)):
    (place / f"{number:03d}.parcel").write_bytes(parcel.to_bytes())
    print(number, flush=True)
"""
APPLY = """
import sys
from pathlib import Path
sys.path[:] = sys.argv[4].split(":")
from test_kinds import applied
from ringrift.store import RunDirectory
with RunDirectory.open(Path(sys.argv[2])) as run:
    print("ready", flush=True)
    sys.stdin.readline()
    applied(run, sys.argv[1], Path(sys.argv[3]))
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create(tmp_path / "run") as made:
        store = GameStore(made)
        store.add_many(((finished(seed).to_bytes(), f"game/{seed}") for seed in range(4)), Provenance("elsewhere"))
        validate(made)
        export(made, CONFIG)
        store.add_many(((finished(seed).to_bytes(), f"game/{seed}") for seed in range(4, 6)), Provenance("elsewhere"))
        validate(made)
        store.add_many(((finished(seed).to_bytes(), f"game/{seed}") for seed in range(6, 8)), Provenance("elsewhere"))
        models.initial_model(made, CONFIG, RECIPE.training)
        yield made


def told(run: RunDirectory, name: str, tmp_path: Path) -> Payload:
    """What a job of each kind is told."""
    match KINDS[name]:
        case selfplay.KIND:
            return selfplay.SelfplayBatch(number=1, games=3, engine="random")
        case train.KIND:
            return train.Training(parent="", up_to=1, games=4)
        case evaluate.KIND:
            digest = openings_digest(CONFIG, 1, replace(RECIPE.match, games=4))
            (model,) = ModelStore(run).ls(CONFIG)
            return evaluate.MatchPair(
                a=model.id, b="random", name="match/random", games=4, seed=1, openings_sha256=digest
            )
        case backup.KIND:
            return backup.BackupTo(place=str(tmp_path / "backups"), keep=3)
        case other:
            return other.payload()


def work(run: RunDirectory, name: str) -> Work:
    job = KINDS[name].job("1", KINDS[name].payload.model_construct(), CONFIG)
    return Work(job, run.fabric.blobs, run.path, recipe=RECIPE, settings="hash")


def computed(run: RunDirectory, name: str, tmp_path: Path) -> Path:
    """A directory with the parcels of a job that was computed there, by a process that has the blobs of the run and
    nothing else of it; what it made is among the blobs of the run by then."""
    row: Kind[Any, Any, Any, Any] = KINDS[name]
    order = row.prepare(run, work(run, name), told(run, name, tmp_path))
    place = tmp_path / "elsewhere"
    shutil.copytree(run.path / "blobs", place / "blobs")
    (place / "order").write_text(order.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-c", COMPUTE, name, str(place), PATH],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = LocalBlobs(place / "blobs")
    for info in there.ls():
        run.fabric.blobs.put(there.path(info.blob), Path(info.blob).suffix)
    return place


def applied(run: RunDirectory, name: str, place: Path) -> object:
    """Applies all parcels, once; the event."""
    row, at, event = KINDS[name], work(run, name), None
    for file in sorted(place.glob("*.parcel")):
        event = row.apply(run, at, Parcel.from_bytes(file.read_bytes()))
    return event


def state(run: RunDirectory, tmp_path: Path) -> dict[str, object]:
    """What a run holds, apart from when it got it."""
    tables: dict[str, object] = {}
    for table in ("games", "shards", "models", "promotions"):
        rows = [dict(row) for row in run.database.rows(f"SELECT * FROM {table}")]
        times = {"added", "created", "audited", "quarantined_at", "quarantined_by", "crc"}
        tables[table] = [{name: value for name, value in row.items() if name not in times} for row in rows]
    matches = {file.name: file.read_text() for file in (run.path / "matches").glob("*")}
    backups = sorted(file.name for file in (tmp_path / "backups").glob("manifests/*"))
    return tables | {"matches": matches, "backups": backups}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_computed_without_a_store_and_applied_once(run: RunDirectory, name: str, tmp_path: Path) -> None:
    before, place = state(run, tmp_path), computed(run, name, tmp_path)
    event = applied(run, name, place)
    assert isinstance(event, KINDS[name].emits)
    once = state(run, tmp_path)
    assert once != before or name == "audit", "it comes to something"
    applied(run, name, place)
    assert state(run, tmp_path) == once


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_two_processes_that_apply_it_at_once_apply_it_once(run: RunDirectory, name: str, tmp_path: Path) -> None:
    place = computed(run, name, tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    command = [sys.executable, "-c", APPLY, name, str(run.path), str(place), PATH]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    said = [one.communicate("\n")[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    at_once = state(run, tmp_path)
    with RunDirectory.open(copy) as other:
        applied(other, name, place)
        assert state(other, tmp_path) == at_once


def test_a_kill_loses_what_the_last_parcel_did_not_hold(run: RunDirectory, tmp_path: Path) -> None:
    at = replace(work(run, "selfplay"), parcel_seconds=0.0)
    batch = selfplay.SelfplayBatch(number=1, games=6, engine="random")
    parcels = selfplay.KIND.compute(at, selfplay.KIND.prepare(run, at, batch))
    for _ in range(3):
        selfplay.KIND.apply(run, at, next(parcels))
    order = selfplay.KIND.prepare(run, at, batch)
    assert len(order.done) == 3
    last = [selfplay.KIND.apply(run, at, parcel) for parcel in selfplay.KIND.compute(at, order)][-1]
    assert isinstance(last, SelfplayFinished) and last.games == 6
    assert len(GameStore(run).work_ids(f"{CONFIG}/batch-000001/")) == 6


def test_a_parcel_as_a_file() -> None:
    parcel = Parcel({"games": [1, 2], "name": "Ä"}, [b"", b"\n{}\x00", b"abc"])
    content = parcel.to_bytes()
    again = Parcel.from_bytes(content)
    assert (again.about, list(again.parts)) == (parcel.about, list(parcel.parts))
    head = json.loads(content.partition(b"\n")[0])
    with pytest.raises(FormatTooNew, match="format 2; this release reads up to 1"):
        Parcel.from_bytes(json.dumps(head | {"format": 2}).encode() + b"\n")
    damaged = [{"sizes": [-1, 9]}, {"about": 3}, {"format": "x"}]
    heads = [json.dumps(head | change).encode() + b"\n" for change in damaged]
    for bad in (b"", b"nonsense", content[:-1], content + b"x", b"[]\n", *heads):
        with pytest.raises(CorruptBlob, match="no parcel of a job, or a damaged one"):
            Parcel.from_bytes(bad)


def test_what_was_lent_to_a_job_is_gone_when_it_has_ended(run: RunDirectory) -> None:
    before = {info.blob for info in run.fabric.blobs.ls()}
    held: list[bool] = []

    def show(_title: str, _total: int) -> AbstractContextManager[Advance]:
        lent = {info.blob for info in run.fabric.blobs.ls()} - before
        held.append(bool(lent) and lent <= needed_blobs(run))  # the janitor leaves it alone
        return quiet("", 0)

    at = work_by_hand(run, CONFIG, show)
    KINDS["ingest"].do(run, at, KINDS["ingest"].payload())
    assert held == [True]
    assert {info.blob for info in run.fabric.blobs.ls()} == before
    assert ModelStore(run).ls(CONFIG, "candidate") == []
