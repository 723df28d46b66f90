"""Files of others that mean harm: every reader raises its documented error or returns, in bounded time and memory."""

# ruff: noqa: E501  # the tables of files are rows
from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import fuzz
import pytest
from earlier_games import random_game, wire_moves, write_database
from fuzz_files import FILE_READERS, FileFuzzer

from ringrift.earlier.games import EarlierDatabase
from ringrift.earlier.importing import import_files
from ringrift.errors import CorruptBlob, DataError
from ringrift.fabric.scratch import scratch
from ringrift.texts import read_json, read_text

ROOT = Path(__file__).parents[1]
DEEP, LONG = "[" * 100_000, "1" * 100_000
MOVE = json.dumps({"type": "place_ring", "player": 1, "to": {"x": 0, "y": 0}})


@pytest.mark.parametrize("name", [*fuzz.READERS, *FILE_READERS])
def test_changed_files_and_texts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.KEPT", tmp_path)
    inputs, _ = fuzz.run(name, 7, cases=100)
    assert inputs == 100


@pytest.mark.long
def test_the_fuzzer_finds_nothing_in_ten_minutes() -> None:
    environment = {"SECONDS_EACH": "30", "SEED": "8", "PATH": ""}
    done = subprocess.run([sys.executable, ROOT / "tools/fuzz.py"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


# -- files by hand -----------------------------------------------------------------------------------------------------


def npy(shape: str, kind: str = "'<f4'", data: bytes = b"", head: str | None = None) -> bytes:
    """An array's file with that header."""
    text = head or f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}}}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin-1") + data


def npz(**arrays: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def tensors(header: object, data: bytes = b"") -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


def pth(content: bytes, **more: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, one in {"a/data.pkl": content, "a/version": b"3", "a/byteorder": b"little", **more}.items():
            archive.writestr(name, one)
    return out.getvalue()


class Runs:
    """A pickle that runs something when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("false",)


JSONS: dict[str, str] = {
    "nothing": "", "a mark": "\ufeff", "null": "null", "deep lists": DEEP, "deep objects": '{"a":' * 100_000,
    "a long integer": LONG, "a long integer within": f'{{"format": {LONG}}}', "infinity": '{"at": Infinity}',
    "too large": '{"at": 1e999, "format": 1e999}', "no number": '{"format": NaN}', "a list": "[]", "a text": '"x"',
    "a number": "3", "twice": '{"format": 1, "format": 2}', "nulls": '{"format": null, "identity": null, "files": null}',
    "lists": '{"format": [], "identity": [], "files": [], "at": []}', "a surrogate": '"\\ud800"', "zeros": "\0" * 99,
    "cut": '{"format": 1, "id', "true": '{"format": true, "identity": true, "files": true}', "deep closed":
    "[" * 900 + "]" * 900, "negative": '{"format": -1, "identity": "", "files": {}}',
}  # fmt: skip
TOMLS: dict[str, str] = {
    "deep": "a = " + DEEP, "deep keys": ".".join("a" * 5000) + " = 1", "long": f"a = {LONG}", "twice": "a = 1\na = 2",
    "infinite": "[serve]\nport = inf", "nan": "[serve]\nport = nan", "list": "serve = []", "table": "[serve.port]\na = 1",
    "cut": "[serve", "time": "[serve]\nport = 1979-05-27", "date": "[square8_2p]\nrandom = 1979-05-27", "nothing": "x",
    "elo": f"[square8_2p]\nrandom = {'9' * 400}", "inf": "[square8_2p]\nrandom = inf", "arrays": "[[square8_2p]]\na = 1",
    "tables": "[" + ".".join("a" * 5000) + "]\nb = 1",
}  # fmt: skip
HOSTILE: dict[str, dict[str, bytes]] = {
    **{name: {about: text.encode("utf-8", "surrogatepass") for about, text in JSONS.items()}
       for name in ("manifest", "run", "kept_match", "training")},
    **{name: {about: text.encode() for about, text in TOMLS.items()} for name in ("settings", "anchors")},
    "shard": {
        "nothing": b"", "no archive": b"x" * 99, "no arrays": npz(), "objects": npz(format=npy("()", "'|O'", b"\0" * 8)),
        "huge": npz(format=npy("(99999999999, 99999999999)")), "negative": npz(format=npy("(-1,)")),
        "long": npz(format=npy(f"({LONG[:9000]},)")), "deep": npz(format=npy("(" * 9000)), "code": npz(
            format=npy("", head="__import__('os')")), "list": npz(format=npy("(2,)", "'<i4'", b"\0" * 8)),
        "named fields": npz(format=npy("()", "[('a', '<i4')]", b"\1\0\0\0")), "no format": npz(config=npy("()")),
        "a text": npz(format=npy("()", "'<U3'", "abc".encode("utf-32-le"))), "times": npz(
            format=npy("()", "'<M8[s]'", b"\0" * 8)), "version": npz(format=b"\x93NUMPY\x09\x09" + b"\0" * 99),
        "infinite": npz(format=npy("()", "'<f8'", struct.pack("<d", float("inf")))),
    },
    "checkpoint": {
        "nothing": b"", "short": b"\1\2\3", "long header": struct.pack("<Q", 1 << 62), "deep": tensors(DEEP),
        "long": tensors(f'{{"a": {LONG}}}'), "a list": tensors([]), "no metadata": tensors({}), "a number": tensors("1"),
        "metadata": tensors({"__metadata__": 3}), "ours": tensors({"__metadata__": {"ringrift": {"a": 1}}}),
        "deep within": tensors({"__metadata__": {"ringrift": DEEP}}), "within": tensors(
            {"__metadata__": {"ringrift": '{"format": 1e999}'}}), "types": tensors({"__metadata__": {"ringrift": json.dumps(
                {"format": 1, "config": [], "architecture": {}, "encoding_hash": 3, "parents": 5})}}),
        "huge": tensors({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}, b"\0" * 4),
    },
    "pickle": {
        "nothing": b"", "a bare pickle": pickle.dumps({"a": 1}), "code": pth(pickle.dumps(Runs())), "empty": pth(b""),
        "garbage": pth(b"\x80\x02garbage"), "a number": pth(pickle.dumps(3)), "deep": pth(b"\x80\x02" + b"]" * 99_999),
        "a bomb": pth(b"\x80\x02}.", **{"a/data/0": b"\0" * (64 << 20)}), "marks": pth(b"(" * 99_999 + b"."),
        "long": pth(b"\x80\x02\x8b\xff\xff\xff\x7f"), "memo": pth(b"\x80\x02j\xff\xff\xff\xff."),
    },
    "network": {
        "nothing": b"", "garbage": b"\xff" * 999, "zeros": b"\0" * 999, "text": b"{}", "deep": b"\x3a\x7f" * 5000,
    },
    "games": {
        "nothing": b"", "a mark": b"\xef\xbb\xbf", "deep": DEEP.encode(), "deep within": f'{{"moves": {DEEP}'.encode(),
        "long": f'{{"board_type": "square8", "num_players": {LONG}, "moves": ["SP"]}}'.encode(),
        "digits": f'{{"board_type": "square8", "num_players": 2, "rng_seed": {LONG[:4000]}, "moves": ["SP"]}}'.encode(),
        "infinite": b'{"board_type": "square8", "num_players": 1e999, "moves": ["SP"]}', "zeros": b"\0" * 9999,
        "a surrogate": b'{"board": "\\ud800", "players": 2, "moves": ["\\udfff"]}', "brackets": b"[]" * 9999,
        "commas": b"{" + b"," * 99_999, "objects": b"{}" * 9999, "quotes": b'{"' * 9999, "strange": b'{"moves": {"a": 1}}',
        "one line": b'{"a": "' + b"x" * 3_000_000 + b'"}', "nested texts": json.dumps({"board_type": "square8",
            "num_players": 2, "moves": json.dumps(json.dumps(json.dumps([MOVE])))}).encode(),
        "packed": json.dumps({"board_type": "square8", "num_players": 2, "moves": "H4sIAAAAAAAA"}).encode(),
        "state": json.dumps({"board_type": "square8", "num_players": 2, "moves": [MOVE], "initial_state": {
            "rulesOptions": {"ringsPerPlayer": [1], "lpsRoundsRequired": {}}, "board": 3, "players": 7}}).encode(),
    },
    "packed_games": {
        "nothing": gzip.compress(b""), "cut": gzip.compress(b"{" * 9999)[:-9], "wrong sum": gzip.compress(b"{}")[:-8] + b"x" * 8,
        "zeros": gzip.compress(b"\0" * (300 << 20), 1), "lines": gzip.compress(b"\n" * (300 << 20), 1),
        "brackets": gzip.compress(b"[" * (200 << 20), 1), "head": b"\x1f\x8b",
        "a packed database": gzip.compress(b"SQLite format 3\0" + b"\0" * (300 << 20), 1),
    },
}  # fmt: skip
FILES = [(reader, about) for reader, files in HOSTILE.items() for about in files]


def test_there_are_many() -> None:
    assert len(FILES) > 150


@pytest.mark.parametrize(("reader", "about"), FILES, ids=lambda one: str(one))
def test_hostile_files_are_read_or_refused_as_documented(tmp_path: Path, reader: str, about: str) -> None:
    row = FILE_READERS[reader]
    path = tmp_path / f"input{row.suffix}"
    path.write_bytes(HOSTILE[reader][about])
    try:
        row.read(path)
    except row.errors as error:
        assert len(str(error)) < 3000 and "\n" not in str(error).strip()  # noqa: PT017


# -- databases ---------------------------------------------------------------------------------------------------------

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
DATABASES: dict[str, str] = {
    "an endless view of games": f"DROP TABLE games; CREATE VIEW games AS {ENDLESS} SELECT x AS game_id, 'square8' AS"
    " board_type, 2 AS num_players, 1 AS winner FROM n",
    "an endless view of moves": f"DROP TABLE game_moves; CREATE VIEW game_moves AS {ENDLESS} SELECT 'game-0000000' AS"
    " game_id, x AS move_number, '{}' AS move_json FROM n",
    "an endless view beside": f"CREATE VIEW more AS {ENDLESS} SELECT 'game-0000000' AS game_id, x AS state FROM n",
    "columns that are computed": "ALTER TABLE games ADD COLUMN a TEXT AS (hex(zeroblob(10000000)))",
    "a virtual table": "CREATE VIRTUAL TABLE more USING fts5(game_id, state)",
    "triggers": "CREATE TRIGGER t AFTER INSERT ON games BEGIN INSERT INTO games SELECT * FROM games; END;"
    "DROP TABLE game_players; CREATE TABLE game_players (game_id, player_number, ai_type)",
    "a long value": "UPDATE game_initial_state SET initial_state_json = zeroblob(40000000)",
    "names of tables": 'CREATE TABLE "a""b; DROP TABLE games" (game_id, state)',
    "names of columns": 'CREATE TABLE more (game_id, "sta""te", state)',
}  # fmt: skip


@pytest.mark.parametrize("about", DATABASES)
def test_hostile_databases_take_bounded_work(tmp_path: Path, about: str) -> None:
    path = write_database(tmp_path / "games.db", [random_game("square8_2p", seed) for seed in range(2)])
    connection = sqlite3.connect(path)
    connection.executescript(DATABASES[about])
    connection.close()
    (report,) = import_files([path], None)
    assert report.error or report.problems or report.imported == 2
    assert "view" in report.error or "games" not in about or about.startswith("an endless view of m")


def test_work_is_counted_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_database(tmp_path / "games.db", [random_game("square8_2p", seed) for seed in range(3)])
    monkeypatch.setattr("ringrift.earlier.games.LEAST_STEPS", 0)
    monkeypatch.setattr("ringrift.earlier.games.STEPS_A_BYTE", 0)
    monkeypatch.setattr("ringrift.earlier.games.STEPS", 50)
    with pytest.raises(CorruptBlob, match="is not a sound database"):
        EarlierDatabase(path, str(path))
    monkeypatch.undo()
    database = EarlierDatabase(path, str(path))
    database._work.most_bytes = 100
    with pytest.raises(CorruptBlob, match="more rows than a file of its size can hold"):
        list(database.games(["game-0000000"]))
    database._work.most_bytes, database._work.left = 1 << 30, -1
    database._connection.set_progress_handler(database._work.step, 1)
    with pytest.raises(CorruptBlob, match="takes more work than a file of its size can need"):
        list(database.games(["game-0000000", "game-0000001"]))
    database.close()


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_values_that_unpack_to_much_are_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = write_database(tmp_path / "games.db", [random_game("square8_2p", 1)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE game_initial_state SET initial_state_json = ?", [pack(b" " * (40 << 20))])
    (report,) = import_files([path], None)
    assert [one.reason for one in report.problems] == [
        "its initial state cannot be read, as JSON or packed by gzip or zlib (it is longer than any game)"
    ]


def test_nothing_is_left_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = """
import os, signal, sys
from ringrift.fabric.scratch import scratch
with scratch() as place:
    (place / "large").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 2
    with scratch() as one, scratch() as other:
        assert one != other and one.is_dir() and other.is_dir()
        assert len(list(tmp_path.iterdir())) == 4, "what the killed one left is gone, and these are in use"
    assert list(tmp_path.iterdir()) == []


# -- texts -------------------------------------------------------------------------------------------------------------


def test_texts_with_a_mark_are_read_everywhere(tmp_path: Path) -> None:
    for mark in (b"\xef\xbb\xbf", b""):
        for name in ("settings", "anchors", "kept_match", "training", "run", "games", "manifest"):
            fuzzer = FileFuzzer(name, 1, tmp_path)
            fuzzer.path.write_bytes(mark + fuzzer.corpus[0])
            FILE_READERS[name].read(fuzzer.path)
    (tmp_path / "text").write_bytes("ä".encode("utf-16"))
    assert read_text(tmp_path / "text") == "ä"
    (tmp_path / "text").write_bytes(b"\xff\xfa")
    with pytest.raises(DataError, match="it is no text in UTF-8: byte 0 is 0xff"):
        read_text(tmp_path / "text")


@pytest.mark.parametrize("text", [DEEP, LONG, "NaN", "-Infinity", "1e400", f"[{'9' * 65}]", "{", "\0"])
def test_what_no_document_holds_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested deeper|digits; at most|is not finite|it is no JSON"):
        read_json(text)
    assert read_json(f"[{'9' * 64}, 1e30, 0.12345678901234567890123]") == [int("9" * 64), 1e30, 0.12345678901234568]


def test_a_game_with_moves_of_another_game_says_so(tmp_path: Path) -> None:
    one, other = (wire_moves(random_game("square8_2p", seed)) for seed in (1, 2))
    game = {"board_type": "square8", "num_players": 2, "moves": one[:20] + other[20:]}
    (tmp_path / "games.jsonl").write_text(json.dumps(game))
    (report,) = import_files([tmp_path / "games.jsonl"], None)
    assert report.quarantined == 1
