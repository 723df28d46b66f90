"""`data ls` over SSH, against a server in this process that runs what it is asked to."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncssh
import pytest
from earlier_games import random_game, write_database
from stored import CONFIG, finished

from ringrift.earlier.discover import Found, Unreadable, find
from ringrift.errors import DataError
from ringrift.store import GameStore, RunDirectory
from ringrift.store.validate import validate


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`ssh://me@127.0.0.1:PORT`, known to the user of a home of its own."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    key, host = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(home / ".ssh" / "id_ed25519"))
    key.write_public_key(str(home / "authorized"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    async def serve(process: asyncssh.SSHServerProcess[str]) -> None:
        shell = await asyncio.create_subprocess_shell(
            str(process.command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await shell.communicate((await process.stdin.read()).encode())
        process.stdout.write("Welcome to node7\n" + out.decode())
        process.stderr.write(err.decode())
        process.exit(shell.returncode or 0)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        keys = str(home / "authorized")
        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=keys, process_factory=serve
        )

    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    port = listener.get_port()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host.export_public_key().decode()}")
    yield f"ssh://me@127.0.0.1:{port}"

    async def close() -> None:
        listener.close()
        await listener.wait_closed()

    asyncio.run_coroutine_threadsafe(close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_far_machine_says_what_this_one_would(server: str, tmp_path: Path) -> None:
    place = tmp_path / "data of all's"
    place.mkdir()
    with RunDirectory.create(place / "run") as run:
        GameStore(run).add_many([(finished(seed).to_bytes(), f"w{seed}") for seed in range(3)])
        validate(run)
        GameStore(run).judge([(3, "bad")])
    write_database(place / "earlier.db", (random_game(CONFIG, seed) for seed in range(2)))
    (place / "broken.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    near, far = (list(find([named])) for named in (place, f"{server}{place}".replace(" ", "%20")))

    def rows(found: list[Found | Unreadable]) -> list[tuple[object, ...]]:
        return sorted(
            (one.place.removeprefix(server), one.kind, one.config, one.games, one.plies, one.quarantined, one.source)
            for one in found
            if isinstance(one, Found)
        )

    assert rows(far) == rows(near)
    assert len(rows(far)) == 2
    ages = [[one.age_hours or 0.0 for one in found if isinstance(one, Found)] for found in (near, far)]
    assert sorted(ages[0]) == pytest.approx(sorted(ages[1]), abs=0.01)
    assert [one.place for one in far if isinstance(one, Unreadable)] == [f"{server}{place}/broken.db"]
    with pytest.raises(DataError, match="nowhere does not exist"):
        list(find([f"{server}/nowhere"]))


def test_what_cannot_be_asked_is_said(server: str, tmp_path: Path) -> None:
    (found,) = find(["ssh://me@127.0.0.1:1/x"])
    assert isinstance(found, Unreadable)
    assert "cannot be looked into" in found.reason
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text("")
    (found,) = find([f"{server}/x"])
    assert isinstance(found, Unreadable)
    assert "not trusted" in found.reason
    with pytest.raises(DataError, match="ssh://user@host/path is right"):
        list(find(["ssh://host"]))


def test_a_far_machine_changes_nothing_and_ends(server: str, tmp_path: Path) -> None:
    place = tmp_path / "stores"
    with RunDirectory.create(place / "run") as run:
        GameStore(run).add_many([(finished(seed).to_bytes(), f"work/{seed}") for seed in range(3)])
    shutil.copytree(place / "run", place / "logged")
    code = "import os, sys; from ringrift.store import GameStore, RunDirectory"
    code += "; GameStore(RunDirectory.open(sys.argv[1])).judge([(1, 'bad')]); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(place / "logged")], check=False)
    shutil.copytree(place / "logged", place / "lost")
    (place / "lost" / "games.db-shm").unlink()
    for name, bomb in {
        "endless": "DROP TABLE games; CREATE VIEW games AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1"
        " FROM n) SELECT x AS config, 'x' AS board_type, 2 AS num_players, 1 AS total_moves FROM n",
        "computed": "ALTER TABLE games DROP COLUMN quality_score;"
        " ALTER TABLE games ADD COLUMN quality_score TEXT AS (hex(zeroblob(300000000)))",
        "bytes": "UPDATE games SET board_type = x'ff'",
    }.items():
        path = write_database(place / f"{name}.db", [random_game(CONFIG, 1)])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(bomb)
    with closing(sqlite3.connect(place / "hot.db", isolation_level=None)) as connection:
        shutil.copy(place / "computed.db", place / "hot.db")
        (place / "hot.db-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + b"\0" * 1000)

    def held() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.suffix != ".db-shm"}

    (tmp_path / "disk").mkdir()
    (place / "run").rename(tmp_path / "disk" / "run")  # a larger disk, and a way back
    (place / "linked").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(place)
    before = held()
    found = list(find([f"{server}{place}"]))
    assert held() == before
    near = list(find([place]))
    assert {(Path(one.place).name, one.games) for one in near if isinstance(one, Found)} >= {("run", 3), ("logged", 2)}
    rows = {Path(one.place).name: (one.games, one.quarantined) for one in found if isinstance(one, Found)}
    assert rows == {"run": (3, 0), "logged": (2, 1), "bytes.db": (1, 0), "computed.db": (1, 0)}
    wrong = {Path(one.place).name: one.reason for one in found if isinstance(one, Unreadable)}
    assert "views are not read" in wrong["endless.db"]
    assert "games.db-wal has changes that were not taken in" in wrong["lost"]
    assert set(wrong) == {"endless.db", "lost", "hot.db"}
