"""Backups: consistent while others write, small when little changed, and whole again after a restore."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from random_play import random_game
from typer.testing import CliRunner

from ringrift.cli import app
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
    manifest.write_text('{"format": 99, "identity": "", "at": 0}')
    with pytest.raises(FormatTooNew):
        place.find("2026")
    manifest.write_text("[]")
    with pytest.raises(CorruptBlob, match="no manifest"):
        place.find("2026")
    assert place.ls() == []


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


def manifest_of(place: BackupStore, name: str = "") -> tuple[Path, dict[str, Any]]:
    """The file of a backup, and what is in it."""
    path = Path(place.place) / "manifests" / f"{place.find(name).name}.json"
    return path, json.loads(path.read_bytes())


HOSTILE = (
    "../out", "/out", "a/../../out", "", ".", "a//b", "a/", "./a", "a/..", "a\\b", "C:out", "a\0b", "a\nb", "\ud800",
    "x" * 300, "games.db-wal", "FABRIC.DB-journal", ".tmp-x", "blobs/.tmp-x", "locks/1", "Logs/a",
    "nul", "a/COM1.txt", "Games.db", "run.json/x", "blobs.", "games.db-shm",
)  # fmt: skip


def test_names_that_leave_the_directory_are_refused_by_every_reader(run: RunDirectory, place: BackupStore) -> None:
    fill(run, 1)
    good, bad = place.backup(run).manifest, place.backup(run).manifest
    path, document = manifest_of(place, bad)
    for name in HOSTILE:
        path.write_text(json.dumps(document | {"files": document["files"] | {name: document["files"]["run.json"]}}))
        with pytest.raises(CorruptBlob, match="is no manifest"):
            place.find(bad)
        sound, unreadable = place.look()
        assert [one.name for one in sound] == [place.find().name] == [good]
        assert list(unreadable) == [bad]
    assert place.newest(run.identity) == place.find()
    again = place.backup(run).manifest  # with its own number, and without the damaged one
    assert place.prune(keep=1, made=again) == [good]
    assert path.exists()
    assert place.check(place.find(again)) == []


def test_manifests_that_are_none(run: RunDirectory, place: BackupStore) -> None:
    path, document = manifest_of(place, place.backup(run).manifest)
    none: dict[str, Any]
    for none in (
        {"files": []}, {"files": {"run.json": []}}, {"files": {"run.json": [1]}},
        {"files": {"run.json": [1, "../../x"]}}, {"at": "x"},
        {"at": 1e999}, {"identity": 3}, {"format": "1"}, {"format": True}, {"format": 0},
        {"files": {"run.json": [-1, "0" * 64]}}, {"files": {"a": [0, "0" * 64]}},
        {"files": {"run.json": [1, "0" * 64, "../../../etc/passwd"]}},
    ):  # fmt: skip
        path.write_text(json.dumps(document | none))
        with pytest.raises(CorruptBlob, match="is no manifest"):
            place.find(path.stem)
    for text in (json.dumps(document)[:-1] + ', "format": 1}', "[" * 100_000, "\xff"):
        path.write_bytes(text.encode("latin-1"))
        assert list(place.look()[1]) == [path.stem]


def test_a_piece_named_ever_again_is_no_bomb(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    path, document = manifest_of(place, place.backup(run).manifest)
    document["files"]["games.db"] += document["files"]["games.db"][2:] * 1000
    path.write_text(json.dumps(document))
    with pytest.raises(CorruptBlob, match="more than the file"):
        place.restore(place.find(), tmp_path / "again")


def test_files_that_no_backup_can_hold_are_told(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    (run.path / "my: notes").write_text("x")
    (run.path / "cards").mkdir()
    for name in ("A.md", "a.md"):
        (run.path / "cards" / name).write_text("x")
    told = place.backup(run).left_out
    assert [line.partition(": it")[0] for line in told] == ["cards/a.md", "my: notes"]
    place.restore(place.find(), tmp_path / "again")
    assert (tmp_path / "again" / "cards" / "A.md").exists()


def test_what_links_lead_to_is_copied_and_the_rest_is_told(
    run: RunDirectory, place: BackupStore, tmp_path: Path
) -> None:
    blob = run.fabric.blobs.put(b"weights" * 1000, ".bin")
    (run.path / "cards").mkdir()
    (run.path / "cards" / "m.md").write_text("a card")
    for name in (f"blobs/{blob[:2]}", "cards", "blobs"):  # a larger disk has them: a part, then all
        there = tmp_path / "disk" / name.replace("/", "-")
        there.parent.mkdir(exist_ok=True)
        (run.path / name).rename(there)
        (run.path / name).symlink_to(there)
    (run.path / "gone").symlink_to(tmp_path / "nothing")
    (run.path / "round").symlink_to(run.path)
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(run.path / "s"))
    made = place.backup(run)
    assert list(made.left_out) == [
        "gone: it is a link to what is not there",
        "round: it is a link to a directory that it is in",
        "s: it is neither a file nor a directory",
    ]
    place.restore(place.find(), tmp_path / "again")
    with RunDirectory.open(tmp_path / "again") as again:
        assert again.fabric.blobs.get(blob) == b"weights" * 1000
        assert (again.path / "cards" / "m.md").read_text() == "a card"
        assert check(again) == []


def test_no_clock_makes_a_backup_older_than_those_before(
    run: RunDirectory, place: BackupStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        year_ = 2030

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(cls.year_, 1, 1, tzinfo=tz)

    monkeypatch.setattr("ringrift.store.backup.datetime", Clock)
    (Path(place.place) / "manifests").mkdir(parents=True)
    earlier = place.backup(run).manifest
    unnumbered = Path(place.place) / "manifests" / "20990101T000000.000000Z.json"
    (Path(place.place) / "manifests" / f"{earlier}.json").rename(unnumbered)  # as earlier releases named it
    made = []
    for year in (2030, 2028, 2028, 2029):
        Clock.year_ = year
        fill(run, 1, first=len(made) + year)
        made.append(place.backup(run).manifest)
    assert [one.name for one in place.ls()] == [unnumbered.stem, *made]
    assert place.find().name == made[-1]
    assert place.newest(run.identity) == place.find(made[-1])
    assert place.prune(2) == [unnumbered.stem, *made[:2]]
    assert place.prune(1, made=made[2]) == []  # whatever else is newer, never the one just made
    assert all(place.check(one) == [] for one in place.ls())


def test_commands_go_on_beside_a_damaged_manifest(run: RunDirectory, place: BackupStore, tmp_path: Path) -> None:
    _, bad = place.backup(run), place.backup(run).manifest
    (Path(place.place) / "manifests" / f"{bad}.json").write_text("{")
    for command, status in (["ls"], 2), (["check"], 1), (["make", str(run.path)], 0):
        told = CliRunner().invoke(app, ["backup", *command[:1], *command[1:], place.place], catch_exceptions=False)
        assert (told.exit_code, f"{bad} is no manifest" in told.output) == (status, True)
    told = CliRunner().invoke(app, ["restore", place.place, str(tmp_path / "again")], catch_exceptions=False)
    assert told.exit_code == 0
    assert f"{bad} is no manifest" in told.stderr
