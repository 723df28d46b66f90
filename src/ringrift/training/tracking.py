"""What is known of each training, in files: `runs/ID/` of a run directory. Needs no torch.

`training.json` says what it was and what came of it, `metrics.jsonl` has a line per logged step: these two are the
truth. Made from them, for other programs: an event file of TensorBoard, and `mlruns/` beside `runs/`, a file store of
MLflow.

    tensorboard --logdir RUN/runs
    MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri RUN/mlruns
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ringrift.errors import CorruptBlob, DataError, unknown
from ringrift.fabric.files import write_atomically
from ringrift.texts import decoded, read_json

ABOUT, METRICS, EVENTS = "training.json", "metrics.jsonl", "events.out.tfevents.0.ringrift"
EXPERIMENT = "1"
Row = dict[str, float]


@dataclass(frozen=True)
class TrackedRun:
    """A training as it was written down."""

    id: str
    about: dict[str, Any]
    """`configs`, `settings`, `status` (`running`, `finished`), `started`, and what came of it."""
    rows: list[Row]
    """`step`, `at` (Unix time), and the figures of that step."""


def tracked_id(key: str) -> str:
    """The id of the training whose arguments have this hash."""
    return f"t-{key[:12]}"


class Tracker:
    """Writes down one training; one that goes on from step `step` keeps what was logged until there."""

    def __init__(self, directory: Path, key: str, about: Mapping[str, Any], step: int = 0) -> None:
        self.id, self._key, self._home = tracked_id(key), key, directory
        self.path = directory / "runs" / self.id
        self.path.mkdir(parents=True, exist_ok=True)
        kept = [row for row in _rows(self.path / METRICS) if row["step"] <= step] if step else []
        started = _about(self.path)["started"] if kept else time.time()
        self._about = {**about, "status": "running", "started": started}
        self._write()
        (self.path / METRICS).write_text("".join(json.dumps(row) + "\n" for row in kept))
        head = _record(struct.pack("<Bd", 0x09, started) + b"\x1a\x0dbrain.Event:2")
        (self.path / EVENTS).write_bytes(head + b"".join(map(_event, kept)))

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """A line of metrics."""
        row = {"step": step, "at": time.time(), **figures}
        with (self.path / METRICS).open("a") as file:
            file.write(json.dumps(row) + "\n")
        with (self.path / EVENTS).open("ab") as events:
            events.write(_event(row))

    def finish(self, **result: Any) -> None:
        """The training has ended."""
        self._about |= {**result, "status": "finished", "ended": time.time()}
        self._write()
        write_mlflow(self._home, self._key, TrackedRun(self.id, self._about, _rows(self.path / METRICS)))

    def _write(self) -> None:
        write_atomically(self.path / ABOUT, json.dumps(self._about, indent=1).encode())


def tracked(directory: Path) -> list[TrackedRun]:
    """The trainings of a run directory, oldest first. Raises: CorruptBlob."""
    paths = [path.parent for path in (directory / "runs").glob(f"*/{ABOUT}")]
    found = [TrackedRun(path.name, _about(path), _rows(path / METRICS)) for path in paths]
    return sorted(found, key=lambda one: (one.about["started"], one.id))


def find(runs: list[TrackedRun], name: str) -> TrackedRun:
    """The training meant by `last`, the beginning of an id, or the model that it made. Raises: DataError."""
    if name == "last" and runs:
        return runs[-1]
    hits = [one for one in runs if name and (one.id.startswith(name) or name in one.about.get("models", {}).values())]
    if len(hits) != 1:
        raise DataError(f"{name!r} means {len(hits)} trainings: {unknown('training', name, [r.id for r in runs])}")
    return hits[0]


def curve(run: TrackedRun, figure: str) -> tuple[list[float], list[float]]:
    """Steps and values of a figure. Raises: DataError where it was never logged."""
    rows = [row for row in run.rows if figure in row]
    if not rows:
        known = sorted({name for row in run.rows for name in row} - {"step", "at"})
        if not known:
            raise DataError(f"{run.id} has logged no step yet: there is nothing to draw")
        if figure == "held_out":
            raise DataError(
                f"{run.id} has no losses on games held out, for it held out none: train with"
                " `--set training.held_out=0.05`, or choose another figure: " + ", ".join(known)
            )
        raise DataError(f"{run.id}: {unknown('figure', figure, known)}")
    return [row["step"] for row in rows], [row[figure] for row in rows]


def _about(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json((path / ABOUT).read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise CorruptBlob(f"{path / ABOUT} cannot be read ({error}); delete {path}") from error


def _rows(path: Path) -> list[Row]:
    """The lines of a file; one that a killed process left unfinished at the end is left out."""
    try:
        lines = decoded(path.read_bytes()).splitlines(keepends=True) if path.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
    except (ValueError, RecursionError) as error:
        raise CorruptBlob(f"{path} cannot be read ({error}); delete {path.parent}") from error
    if not all(isinstance(row, dict) for row in rows):
        raise CorruptBlob(f"{path} has a line that is no row of figures; delete {path.parent}")
    return rows


# -- TensorBoard: records of (length, its checksum, an Event as protobuf, its checksum) --------------------------------


@cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 * (value & 1)
        table.append(value)
    return table


def _checksum(data: bytes) -> bytes:
    """CRC-32C, masked as the format wants it."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _event(row: Row) -> bytes:
    values = b"".join(
        _field(1, _field(1, name.encode()) + b"\x15" + struct.pack("<f", value))
        for name, value in row.items()
        if name not in ("step", "at")
    )
    return _record(b"\x09" + struct.pack("<d", row["at"]) + b"\x10" + _varint(int(row["step"])) + _field(5, values))


# -- MLflow: a folder per run, a file per figure -----------------------------------------------------------------------


def write_mlflow(directory: Path, key: str, run: TrackedRun) -> None:
    """Writes a training into the file store `mlruns` of `directory`, anew."""
    experiment = directory / "mlruns" / EXPERIMENT
    home = experiment / key[:32]
    artifacts, at = (home / "artifacts").absolute().as_uri(), int(run.about["started"] * 1000)
    for path, lines in (
        (experiment, {"artifact_location": experiment.absolute().as_uri(), "creation_time": at,
                      "last_update_time": at, "experiment_id": EXPERIMENT, "name": "ringrift"}),
        (home, {"artifact_uri": artifacts, "experiment_id": EXPERIMENT, "run_id": key[:32], "run_name": run.id,
                "start_time": at, "end_time": int(run.about["ended"] * 1000), "status": 3, "entry_point_name": "",
                "source_name": "", "source_type": 4, "source_version": "", "tags": [], "user_id": "ringrift"}),
    ):  # fmt: skip
        path.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        write_atomically(path / "meta.yaml", json.dumps({**lines, "lifecycle_stage": "active"}).encode())
    for folder in ("metrics", "params", "tags", "artifacts"):  # all four, or it is no run
        (home / folder).mkdir(exist_ok=True)
    for name in {name for row in run.rows for name in row} - {"step", "at"}:
        points = [f"{int(row['at'] * 1000)} {row[name]} {int(row['step'])}\n" for row in run.rows if name in row]
        (home / "metrics" / name).write_text("".join(points))
    for name, value in _flat(run.about):
        (home / "params" / name).write_text(value)
    (home / "tags" / "mlflow.runName").write_text(run.id)


def _flat(about: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in about.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, str(value)
