"""Readers of files, each with real small files to begin with and the errors that it documents; for `tools/fuzz.py`.

Files are made by our own writers, changed byte by byte or in their structure (JSON, headers of archives and of
safetensors with right checksums), and read. Anything but a documented error is a fault.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from earlier_games import random_game, wire_moves, write_database

from ringrift.errors import DataError, RulesError, SettingsError
from ringrift.rules import Game, Options, Record

Mutator = Callable[[bytes, random.Random], bytes]
MAGIC = [b"\0" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\x1f\x8b", b"PK\x03\x04", b"\xef\xbb\xbf", b'"']
ODD: list[Any] = [
    None, True, 0, -1, 3, 2**31, 2**63, 2**64, 10**40, 0.5, -0.0, 1e308, "", "x", "9" * 5000, "\ud800", "\0", "NaN", [],
    [[]], [None], {}, {"a": {}}, [1] * 50, "../x", float("nan"), float("inf"),
]  # fmt: skip
RAW = [
    "[" * 3000,
    '{"a":' * 3000,
    "1" * 6000,
    "1e999",
    "-Infinity",
    "NaN",
    "1" * 6000 + ".0",
    '{"a":1,"a":2}',
    "\ufeff",
]
#: What no reason may show: the words of Python.
WORDS = re.compile(r"NoneType|KeyError|TypeError|object has no|unhashable|not subscriptable|\[Errno|Traceback|<class")


def bytes_changed(content: bytes, rng: random.Random) -> bytes:
    """Flipped bits, cut, doubled, overwritten and inserted pieces."""
    found = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(min(len(found), rng.choice([64, 4096, 10**9])) + 1) if found else 0
        to = min(len(found), at + rng.choice([1, 2, 8, 100, 4096]))
        match rng.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                del found[at:]
            case 2:
                del found[at:to]
            case 3:
                found[at:at] = found[at:to]
            case 4:
                found[at : at + 8] = rng.choice(MAGIC)
            case _:
                found[at:to] = rng.randbytes(to - at)
    return bytes(found)


def json_changed(content: bytes, rng: random.Random) -> bytes:
    """One line of JSON with a value somewhere in it replaced, dropped, doubled or put under another name."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    try:
        document = json.loads(lines[at])
    except ValueError:
        return bytes_changed(content, rng)
    lines[at] = node_changed(document, rng).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def node_changed(document: Any, rng: random.Random) -> str:
    """The JSON of a document that was changed somewhere."""
    raw = None
    for _ in range(rng.choice([1, 1, 1, 3])):
        inside = document
        while isinstance(inside, dict | list) and inside:
            keys: list[Any] = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            key = rng.choice(keys)
            if isinstance(inside[key], dict | list) and inside[key] and rng.random() < 0.8:
                inside = inside[key]
                continue
            match rng.randrange(5):
                case 0 if isinstance(inside, dict):
                    del inside[key]
                case 1 if isinstance(inside, list):
                    inside.insert(key, inside[key])
                case 2:
                    raw = rng.choice(RAW)
                    inside[key] = "RAW"
                case _:
                    inside[key] = copy.deepcopy(rng.choice(ODD))
            break
    text = json.dumps(document)
    return text.replace('"RAW"', raw, 1) if raw else text


def text_changed(content: bytes, rng: random.Random) -> bytes:
    """A line of text with another value after its sign of equality."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    value = rng.choice([json.dumps(rng.choice(ODD)), rng.choice(RAW), "{a" + ".a" * 2000 + "=1}", "inf", "1979-05-27"])
    lines[at] = lines[at].partition(b"=")[0] + b"= " + value.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def zip_changed(content: bytes, rng: random.Random) -> bytes:
    """An archive with a member changed in its first bytes or dropped, under right checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as target:
        names = archive.namelist()
        chosen = rng.choice(names)
        for name in names:
            member = archive.read(name)
            if name == chosen:
                if rng.random() < 0.1:
                    continue
                head, rest = member[:128], member[128:]
                if (shape := re.search(rb"\(\d+,[^)]*\)", head)) and rng.random() < 0.5:
                    other = rng.choice([b"()", b"(0,)", b"(-1,)", b"(99999999999999999999,)", b"(3, 4, 5)", b"(1,)"])
                    head = head[: shape.start()] + other.ljust(len(shape[0])) + head[shape.end() :]
                elif rng.random() < 0.5:
                    kind = rng.choice([b"'|O'", b"'<f8'", b"'<U9'", b"'|V1'", b"'<M8'"])
                    head = re.sub(rb"'[<|][a-zA-Z]\d+'", kind, head)
                else:
                    head = bytes_changed(head, rng)
                member = head + rest
            target.writestr(name, member, zipfile.ZIP_DEFLATED if rng.random() < 0.05 else zipfile.ZIP_STORED)
    return out.getvalue()


def header_changed(content: bytes, rng: random.Random) -> bytes:
    """A safetensors file with another header of a right length."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    ours = header.get("__metadata__", {})
    if rng.random() < 0.5 and "ringrift" in ours:
        ours["ringrift"] = node_changed(json.loads(ours["ringrift"]), rng)
        text = json.dumps(header)
    else:
        text = node_changed(header, rng)
    head = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(head)) + head + content[8 + size :]


def packed(mutate: Mutator) -> Mutator:
    """The same within a gzip file."""
    return lambda content, rng: gzip.compress(mutate(gzip.decompress(content), rng), 1)


# -- files to begin with -----------------------------------------------------------------------------------------------


def finished(seed: int) -> Record:
    """A short game with made-up decisions."""
    game, rng = Game("square8_2p", Options(rings_per_player=3)), np.random.default_rng(seed)
    while not game.is_over:
        playable = game.playable_packed()
        game.push_packed(int(playable[rng.integers(len(playable))]))
    return Record.from_game(game, seed=seed, players=("a", "b"))


def databases(folder: Path) -> Iterable[bytes]:
    """Of the earlier service."""
    (folder / "corpus.db").unlink(missing_ok=True)
    yield write_database(folder / "corpus.db", [random_game("square8_2p", seed) for seed in range(2)]).read_bytes()


def run_databases(name: str) -> Callable[[Path], Iterable[bytes]]:
    """That database of a run that has something in every table."""

    def corpus(folder: Path) -> Iterable[bytes]:
        from ringrift.fabric import Job, LogEntry
        from ringrift.store import GameStore, ModelStore, RunDirectory
        from ringrift.store.provenance import retract
        from ringrift.store.samples import export
        from ringrift.store.validate import validate

        shutil.rmtree(place := folder / "run", ignore_errors=True)
        with RunDirectory.create(place) as run:
            store, models = GameStore(run), ModelStore(run)
            store.add_many([(finished(seed).to_bytes(), f"work/{seed}") for seed in range(3)])
            store.judge([(3, "not sound")])
            validate(run)
            export(run, "square8_2p")
            models.promote(models.register("square8_2p", run.fabric.blobs.put(b"w", ".bin"), None, {}), over=None)
            retract(run, games=[1], reason="tried")
            run.fabric.jobs.put([Job("export/1", "export", "square8_2p")])
            run.fabric.log.append([LogEntry("Tried", {}, "e", "square8_2p")])
        shutil.copytree(place, folder / "sound", dirs_exist_ok=True)
        yield (place / name).read_bytes()

    return corpus


def game_lines(_: Path) -> Iterable[bytes]:
    """Games as JSON, in several forms."""
    games = [
        {"game_id": n, "board_type": "square8", "num_players": 2, "status": "completed", "winner": g.outcome().winner,
         "players": [{"playerNumber": 1, "aiType": "x"}], "rng_seed": n, "moves": wire_moves(g)}
        for n, g in enumerate(random_game("square8_2p", seed) for seed in (1, 2))
    ]  # fmt: skip
    yield "\n".join(json.dumps(game) for game in games).encode()
    yield finished(1).to_json().encode()
    yield json.dumps(games).encode()


def packed_lines(folder: Path) -> Iterable[bytes]:
    """The same, packed."""
    return (gzip.compress(content) for content in game_lines(folder))


def shards(_: Path) -> Iterable[bytes]:
    """A shard."""

    from ringrift import _core
    from ringrift.store.samples import ExportSettings, ReadGame, make_samples

    games = [ReadGame(n, r, len(_core.decisions(r._first(), r.moves)[0])) for n, r in enumerate(map(finished, (1, 2)))]
    yield make_samples("square8_2p", games, ExportSettings())[0].to_bytes()


def checkpoints(_: Path) -> Iterable[bytes]:
    """A checkpoint."""
    from ringrift.nets.checkpoint import initial_checkpoint

    yield initial_checkpoint("tiny", "square8_2p")


def pickles(folder: Path) -> Iterable[bytes]:
    """A file of PyTorch."""
    import torch

    torch.save({"model_state_dict": {"a": torch.ones(3, 4), "b": torch.arange(5)}}, folder / "corpus.pth")
    yield (folder / "corpus.pth").read_bytes()


def networks(_: Path) -> Iterable[bytes]:
    """An exported network."""
    from ringrift.evaluators import shipped

    yield (Path(shipped.__file__).parent / "networks" / "square8_2p.onnx").read_bytes()


def manifests(_: Path) -> Iterable[bytes]:
    """Of a backup."""
    row = [5, "a" * 64]
    yield json.dumps(
        {"format": 1, "identity": "x", "at": 1.0, "files": {"run.json": row, "blobs/ab/x.npz": row}}
    ).encode()


def matches(_: Path) -> Iterable[bytes]:
    """A kept match: its header and a line of a game."""
    from ringrift.evaluation.kept import line_of

    game = {"game": "a", "result": {"opening": 0, "seats": [0, 1], "ranks": [1, 2], "plies": 9, "moves": "x"}}
    yield (line_of({"ringrift_match": 1, "config": "square8_2p", "players": ["a", "b"]}) + line_of(game)).encode()


def trainings(_: Path) -> Iterable[bytes]:
    """Rows of figures."""
    yield b'{"step": 1, "at": 1.5, "loss": 0.5}\n{"step": 2, "at": 2.5, "loss": NaN}\n'


# -- what reads them ---------------------------------------------------------------------------------------------------


def read_settings(path: Path) -> None:
    from ringrift.settings import load

    load("square8_2p", file=path, environ={})


def read_anchors(path: Path) -> None:
    from ringrift.evaluation.ratings import read_anchors

    read_anchors(path)


def read_kept(path: Path) -> None:
    from ringrift.evaluation.kept import read_matches

    read_matches([path])


def read_games(path: Path) -> None:
    from ringrift.earlier.discover import find
    from ringrift.earlier.importing import import_files

    (report,) = import_files([path], None)
    for said in (report.error, *(problem.reason for problem in report.problems)):
        assert not WORDS.search(said), said
        assert len(said) < 2000, said
    list(find([path]))


def read_shard(path: Path) -> None:
    from ringrift.store.samples import read_shard

    read_shard(path)


def read_checkpoint(path: Path) -> None:
    from ringrift.nets.checkpoint import load_checkpoint

    load_checkpoint(path)


def read_pickle(path: Path) -> None:
    from ringrift.nets.foreign import read_pth

    read_pth(path)


def read_network(path: Path) -> None:
    from ringrift.evaluators.onnx import OnnxEvaluator

    OnnxEvaluator(path)


def read_manifest(path: Path) -> None:
    from ringrift.store.backup import _read_manifest

    _read_manifest(path.name, path.read_bytes())


def read_training(path: Path) -> None:
    from ringrift.training.tracking import ABOUT, METRICS, tracked

    place = path.parent / "runs" / "t-1"
    place.mkdir(parents=True, exist_ok=True)
    (place / ABOUT).write_text('{"started": 1.0}')
    shutil.copyfile(path, place / METRICS)
    tracked(path.parent)


def read_run(path: Path) -> None:
    from ringrift.store import RunDirectory

    place = path.parent / "run"
    place.mkdir(exist_ok=True)
    shutil.copyfile(path, place / "run.json")
    RunDirectory.identity_of(place)


def read_run_database(name: str) -> Callable[[Path], None]:
    """Everything that is stored is looked at, listed and put right, in a run with that database."""

    def read(path: Path) -> None:
        from ringrift.earlier.discover import find
        from ringrift.store import GameStore, ModelStore, RunDirectory
        from ringrift.store.check import check

        shutil.rmtree(place := path.parent / "run", ignore_errors=True)
        shutil.copytree(path.parent / "sound", place)
        shutil.copyfile(path, place / name)
        list(find([place]))
        with RunDirectory.open(place) as run:
            for problem in check(run, repair=True):
                assert not WORDS.search(problem.reason), problem
            store = GameStore(run)
            for look in (
                store.quarantined, store.counts, lambda: ModelStore(run).history("square8_2p"), ModelStore(run).ls,
                run.fabric.jobs.counts, run.fabric.jobs.ls, run.fabric.log.tail, run.fabric.registry.ls,
            ):  # fmt: skip
                with suppress(DataError):
                    look()

    return read


@dataclass(frozen=True)
class FileReader:
    """One row: what it reads, from which files on, and what it may raise."""

    suffix: str
    corpus: Callable[[Path], Iterable[bytes]]
    read: Callable[[Path], None]
    errors: tuple[type[Exception], ...]
    mutators: tuple[Mutator, ...] = (bytes_changed,)


SETTINGS = b"[loop]\nsteps = 100\n[serve]\nport = 8001\n[config.hex8_2p.loop]\nsteps = 5\n"
ANCHORS = b"[square8_2p]\nrandom = 0.0\nheuristic = 100\n"
FILE_READERS: dict[str, FileReader] = {
    "settings": FileReader(".toml", lambda _: [SETTINGS], read_settings, (SettingsError,),
                           (bytes_changed, text_changed)),
    "anchors": FileReader(".toml", lambda _: [ANCHORS], read_anchors, (DataError,), (bytes_changed, text_changed)),
    "kept_match": FileReader(".jsonl", matches, read_kept, (DataError,), (bytes_changed, json_changed)),
    "training": FileReader(".jsonl", trainings, read_training, (DataError,), (bytes_changed, json_changed)),
    "manifest": FileReader(".json", manifests, read_manifest, (DataError,), (bytes_changed, json_changed)),
    "run": FileReader(".json", lambda _: [b'{"format": 1, "identity": "x"}'], read_run, (DataError,),
                      (bytes_changed, json_changed)),
    "games": FileReader(".jsonl", game_lines, read_games, (DataError,), (bytes_changed, json_changed)),
    "packed_games": FileReader(".jsonl.gz", packed_lines, read_games, (DataError,),
                               (bytes_changed, packed(json_changed))),
    "database": FileReader(".db", databases, read_games, (DataError,)),
    "games_db": FileReader(".db", run_databases("games.db"), read_run_database("games.db"), (DataError,)),
    "fabric_db": FileReader(".db", run_databases("fabric.db"), read_run_database("fabric.db"), (DataError,)),
    "shard": FileReader(".npz", shards, read_shard, (DataError,), (bytes_changed, zip_changed)),
    "checkpoint": FileReader(".safetensors", checkpoints, read_checkpoint, (DataError, RulesError),
                             (bytes_changed, header_changed)),
    "pickle": FileReader(".pth", pickles, read_pickle, (DataError,), (bytes_changed, zip_changed)),
    "network": FileReader(".onnx", networks, read_network, (DataError, RulesError)),
}  # fmt: skip


class FileFuzzer:
    """Changes the files of one row, and reads them; each is on the disk before it is read."""

    def __init__(self, name: str, seed: int, folder: Path) -> None:
        self.row, self.rng = FILE_READERS[name], random.Random(f"{name}/{seed}")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"input{self.row.suffix}"
        self.corpus = list(self.row.corpus(folder))
        for content in self.corpus:  # as they are, they are read
            self.path.write_bytes(content)
            self.row.read(self.path)

    def read(self) -> bool:
        """Reads one changed file; False where it was refused as documented."""
        self.path.write_bytes(self.rng.choice(self.row.mutators)(self.rng.choice(self.corpus), self.rng))
        try:
            self.row.read(self.path)
        except self.row.errors:
            return False
        return True
