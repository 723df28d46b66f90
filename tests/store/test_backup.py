"""Backups: consistent while others write, small when little changed, and whole again after a restore."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from random_play import random_game

from ringrift.errors import CorruptBlob, DataError, FormatTooNew
from ringrift.fabric.files import TEMPORARY
from ringrift.rules import Record
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.backup import BackupStore
from ringrift.store.check import check

CONFIG = "square8_2p"


@pytest.fixture
def place(tmp_path: Path) -> BackupStore:
    return BackupStore(str(tmp_path / "backups"), made=True)


def fill(run: RunDirectory, games: int, first: int = 0) -> None:
    game = random_game(CONFIG, seed=1)
    record = Record.from_game(game, seed=1, players=("random",) * game.num_seats).to_bytes()
    GameStore(run).add_many((record, f"work/{first + i}") for i in range(games))


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_restored_run_is_the_run_and_goes_on(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    fill(run, 20)
    blob = run.fabric.blobs.put(b"weights" * 2_000_000, ".bin")  # several pieces
    run.fabric.registry.set("promoted/none", {"model": "m"})
    run.fabric.registry.delete("promoted/none")
    run.fabric.registry.set("settings", {"x": 1})
    (run.path / "matches").mkdir()
    (run.path / "matches" / "a.jsonl").write_text("{}\n")
    (run.path / f"{TEMPORARY}half").write_text("half written")
    (run.path / "logs").mkdir()
    (run.path / "logs" / "loop.jsonl").write_text("{}\n")
    made = place.backup(run)
    place.restore(place.find(), tmp_path / "again")
    with RunDirectory.open(tmp_path / "again") as again:
        assert again.identity == run.identity
        assert GameStore(again).work_ids("") == GameStore(run).work_ids("")
        assert again.fabric.blobs.get(blob) == run.fabric.blobs.get(blob)
        entry = again.fabric.registry.get("settings")
        assert entry is not None
        assert entry.value == {"x": 1}
        assert check(again) == []
        fill(again, 1, first=100)
        with again.loop_lease():
            pass
    assert (tmp_path / "again" / "matches" / "a.jsonl").read_text() == "{}\n"
    assert not (tmp_path / "again" / "logs").exists()
    assert not list((tmp_path / "again").glob(f"{TEMPORARY}*"))
    assert made.files == len(place.find().files)


def test_second_backup_sends_only_what_changed(run: RunDirectory, place: BackupStore) -> None:
    run.fabric.blobs.put(b"x" * 9_000_000)
    first = place.backup(run)
    fill(run, 1)
    second = place.backup(run)
    assert first.sent_bytes > 4_000_000
    assert second.sent_bytes < 1_000_000
    assert [one.name for one in place.ls()] == [first.manifest, second.manifest]
    assert place.find(first.manifest[:-3]).name == first.manifest


def test_snapshot_while_others_write_is_consistent(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    stop, added = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            fill(run, 3, first=added[0])  # three at a time, all or none
            added[0] += 3

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(3):
            before = added[0]
            place.restore(place.find(place.backup(run).manifest), tmp_path / f"again{i}")
            with RunDirectory.open(tmp_path / f"again{i}") as again:
                games = sum(row.games for row in GameStore(again).counts())
                assert games >= before
                assert games % 3 == 0
                again.database.check()
    finally:
        stop.set()
        writer.join()


def test_damage_is_found_and_named(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    fill(run, 5)
    place.backup(run)
    manifest = place.find()
    chunk = manifest.files["games.db"].chunks[0]
    piece = tmp_path / "backups" / "chunks" / chunk[:2] / chunk
    good = piece.read_bytes()
    piece.write_bytes(good[:-1] + b"?")
    with pytest.raises(CorruptBlob, match="is damaged"):
        place.restore(manifest, tmp_path / "again")
    assert place.check(manifest) == [
        f"games.db: {place.place}/chunks/{chunk[:2]}/{chunk} is damaged: take another backup"
    ]
    with pytest.raises(DataError, match="not a run directory"):
        RunDirectory.open(tmp_path / "again")
    assert not piece.exists()  # or the next backup would take it for sent
    assert "is missing" in place.check(manifest)[0]
    piece.write_bytes(good)
    assert place.check(manifest) == []
    with pytest.raises(DataError, match="is not empty"):
        place.restore(manifest, run.path)


def test_pruning_keeps_the_newest_whole(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    names = []
    for i in range(3):
        run.fabric.blobs.put(str(i).encode() * 100_000)
        fill(run, 50, first=50 * i)
        names.append(place.backup(run).manifest)
    assert place.prune(keep=1) == names[:2]
    assert place.prune(keep=0) == []  # never the last one
    assert [one.name for one in place.ls()] == names[2:]
    assert place.check(place.find()) == []
    place.restore(place.find(), tmp_path / "again")


def test_places_and_names_that_do_not_exist(place: BackupStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no backup"):
        place.find()
    with pytest.raises(DataError, match="place of backups ftp://x does not work"):
        BackupStore("ftp://x")
    with pytest.raises(DataError, match="does not work"):
        BackupStore(str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="does not work"):
        BackupStore(str(tmp_path / "file"), made=True)
    (tmp_path / "backups" / "manifests").mkdir(parents=True)
    manifest = tmp_path / "backups" / "manifests" / "20260101T000000.000000Z.json"
    manifest.write_text('{"format": 99}')
    with pytest.raises(FormatTooNew):
        place.ls()
    manifest.write_text("[]")
    with pytest.raises(CorruptBlob, match="no manifest"):
        place.ls()


def test_killed_backup_leaves_the_earlier_one_whole(run: RunDirectory, place: BackupStore) -> None:
    fill(run, 5)
    first = place.backup(run)
    for i in range(8):
        run.fabric.blobs.put(bytes([i]) * 6_000_000)
    code = "import sys\nfrom ringrift.store import RunDirectory\nfrom ringrift.store.backup import BackupStore\n"
    code += "run = RunDirectory.open(sys.argv[1])\nprint('on', flush=True)\n"
    code += "BackupStore(sys.argv[2]).backup(run, lambda done, total: print(done, flush=True))"
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path), place.place], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(6):
        writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert [one.name for one in place.ls()] == [first.manifest]
    assert place.check(place.find()) == []
    place.backup(run)
    assert all(place.check(one) == [] for one in place.ls())
    assert ModelStore(run).ls() == []


@pytest.mark.slow
def test_object_store(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            endpoint = f"http://127.0.0.1:{port}"
            for name, value in {
                "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            }.items():  # fmt: skip
                monkeypatch.setenv(name, value)
            for _ in range(200):
                with suppress(httpx.TransportError):
                    httpx.put(f"{endpoint}/bucket")
                    break
                time.sleep(0.1)
            place = BackupStore("s3://bucket/team/run")
            fill(run, 30)
            run.fabric.blobs.put(b"weights" * 1_000_000)
            names = [place.backup(run).manifest, place.backup(run).manifest]
            assert place.prune(keep=1) == names[:1]
            assert place.check(place.find()) == []
            place.restore(place.find(), tmp_path / "again")
            with RunDirectory.open(tmp_path / "again") as again:
                assert GameStore(again).work_ids("") == GameStore(run).work_ids("")
            with pytest.raises(DataError, match="does not work"):
                BackupStore("s3://nobodys-bucket").ls()
        finally:
            server.kill()


def pieces(place: BackupStore, blob: str) -> list[Path]:
    """The files that hold a blob of the last backup."""
    chunks = place.find().files[f"blobs/{blob[:2]}/{blob}"].chunks
    return [Path(place.place) / "chunks" / chunk[:2] / chunk for chunk in chunks]


def test_missing_and_damaged_pieces_are_sent_again(run: RunDirectory, place: BackupStore) -> None:
    missing, damaged = (run.fabric.blobs.put(bytes([i]) * 10_000) for i in range(2))
    place.backup(run)
    pieces(place, missing)[0].unlink()
    second = place.backup(run)
    assert second.sent_bytes >= 10_000
    assert place.check(place.find()) == []
    piece = pieces(place, damaged)[0]
    piece.write_bytes(b"?" + piece.read_bytes()[1:])
    assert len(place.check(place.find())) == 1
    place.backup(run)
    assert all(place.check(one) == [] for one in place.ls())


def pruned_model(run: RunDirectory, place: BackupStore | None) -> str:
    """The checkpoint of a model that was backed up, then pruned."""
    models = ModelStore(run)
    blobs = [run.fabric.blobs.put(f"weights {i}".encode() * 1000, ".bin") for i in range(2)]
    for blob in blobs:
        models.register(CONFIG, blob, None, {})
    if place:
        place.backup(run)
    (gone,) = models.prune(CONFIG, keep=1)
    return gone.checkpoint


def test_last_copies_of_pruned_models_survive_rotation(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    blob = pruned_model(run, place)
    for _ in range(3):
        assert place.backup(run).lost == ()
        place.prune(keep=1)
    assert len(place.ls()) == 1
    assert blob in place.copied(run.identity)
    place.restore(place.find(), tmp_path / "again")
    with RunDirectory.open(tmp_path / "again") as again:
        again.fabric.blobs.check(blob)


def test_lost_copy_of_a_pruned_model_is_named(run: RunDirectory, place: BackupStore) -> None:
    blob = pruned_model(run, place)
    pieces(place, blob)[0].unlink()
    assert blob not in place.copied(run.identity)
    assert place.backup(run).lost == (f"blobs/{blob[:2]}/{blob}",)
    assert place.check(place.find()) == []


def test_missing_file_of_a_model(run: RunDirectory, place: BackupStore) -> None:
    never_copied = pruned_model(run, None)
    assert place.backup(run).lost == ()
    blob = run.fabric.blobs.put(b"other weights", ".bin")
    ModelStore(run).register(CONFIG, blob, None, {})
    path = run.fabric.blobs.path(blob)
    path.unlink()
    with pytest.raises(DataError, match=f"{blob}, a model's file, is missing"):
        place.backup(run)
    path.write_bytes(b"other weights")
    place.backup(run)
    path.unlink()
    place.backup(run)  # from the backup before
    names = place.find().files
    assert any(blob in name for name in names) and not any(never_copied in name for name in names)
