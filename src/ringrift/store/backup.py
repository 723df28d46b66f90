"""Copies of a run elsewhere: in a directory or an object store, each as small as what has changed.

    chunks/<2 hex>/<sha256>              pieces of files, shared by all backups there
    manifests/<UTC time>-<number>.json   one whole backup: every file of the run with the pieces it is made of

A manifest is written last, so that whatever it names is there. Its number is one more than any there, so that no clock
changes which one is the newest; those of before numbers were given are the oldest. Databases are copied as one
consistent snapshot while others write; everything else in a run is written once. Cut into pieces of equal length, a
database of which few pages changed costs few pieces. Files under `TEMPORARY` names, logs and locks are left out; what
links lead to is copied in their place. Files of models that the run has pruned go over from the backup before.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringrift.errors import CorruptBlob, DataError, FormatTooNew, RingRiftError, unknown
from ringrift.fabric import LocalFabric, sync_directory
from ringrift.fabric.files import TEMPORARY, make_directory, space_checked
from ringrift.fabric.scratch import scratch
from ringrift.store.run import DATABASES, RunDirectory

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FORMAT = 1
CHUNK_BYTES = 1 << 22
LEFT_OUT = ("logs", "locks")
MARKER = "run.json"  #: a directory is a run once it has this; restored last
SHA256 = re.compile(r"[0-9a-f]{64}")
NUMBERED = re.compile(r".*-([0-9]+)")  #: the name of a backup
DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  #: not files on some systems
PART_BYTES = 255  #: of a name between slashes, as file systems take it


@dataclass(frozen=True)
class Stored:
    """One file of a backup."""

    size_bytes: int
    sha256: str
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """One whole backup."""

    name: str
    identity: str
    """Identity of the run."""
    at: float
    """Unix time."""
    files: dict[str, Stored]
    """What was copied, by path in the run directory."""
    work: str = ""
    """The job that made it, if one did."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())


@dataclass(frozen=True)
class BackedUp:
    """What one backup did."""

    manifest: str
    files: int
    size_bytes: int
    """Size of the whole run."""
    sent_bytes: int
    """That were not there yet."""
    seconds: float
    lost: tuple[str, ...]
    """Files of pruned models whose last copies, in earlier backups, have missing pieces."""
    left_out: tuple[str, ...]
    """What was not copied, as no backup can hold such a name, and why."""


class BackupStore:
    """A place for backups: a path, or a URL such as `s3://bucket/prefix`, as `obstore` opens it.

    A path has to exist unless it is to be `made`. Credentials and addresses of object stores come from their usual
    environment variables. Raises `DataError` for a place that cannot be opened or does not answer.
    """

    def __init__(self, place: str, *, made: bool = False) -> None:
        from obstore.store import from_url

        self.place = place
        self.local = "://" not in place
        with self._answered():
            self._store: ObjectStore = (
                from_url(Path(os.path.realpath(place)).as_uri(), mkdir=made) if self.local else from_url(place)
            )

    def look(self) -> tuple[list[Manifest], dict[str, str]]:
        """The backups, oldest first; and of each whose manifest cannot be used, by its name, why."""
        sound, unreadable = [], {}
        for name in self._names():
            try:
                sound.append(self._manifest(name))
            except RingRiftError as error:
                unreadable[name] = str(error)
        return sound, unreadable

    def ls(self) -> list[Manifest]:
        """The backups that can be used, oldest first."""
        return self.look()[0]

    def find(self, name: str = "") -> Manifest:
        """A backup by the beginning of its name; the last one that can be used where none is given.

        Raises `DataError`, and for a name what its manifest is refused for.
        """
        known = self._names()
        if name:
            found = [one for one in known if one.startswith(name)]
            if len(found) == 1:
                return self._manifest(found[0])
        elif sound := self.ls():
            return sound[-1]
        what = unknown("backup", name, known) if name and known else "has no backup that can be used"
        raise DataError(f"{self.place}: {what}" if name and known else f"{self.place} {what}")

    def newest(self, identity: str) -> Manifest | None:
        """The last backup of that run."""
        return next((one for one in reversed(self.ls()) if one.identity == identity), None)

    def _names(self) -> list[str]:
        """Names of all backups, oldest first."""
        paths = (path for path in self._list("manifests/") if path.endswith(".json"))
        return sorted((path.removeprefix("manifests/").removesuffix(".json") for path in paths), key=_order)

    def _manifest(self, name: str) -> Manifest:
        return _read_manifest(name, self._get(f"manifests/{name}.json"))

    def copied(self, identity: str) -> set[str]:
        """The blobs that the last backup of that run has, with all their pieces."""
        last = self.newest(identity)
        return {name.rpartition("/")[2] for name in self._blobs([last], set(self._list("chunks/")))} if last else set()

    def _blobs(self, manifests: Sequence[Manifest], there: set[str]) -> dict[str, Stored]:
        """The blobs of some backups all of whose pieces are there; as they are named by their content, any will do."""
        found = (item for one in manifests for item in one.files.items() if item[0].startswith("blobs/"))
        return {name: file for name, file in found if there.issuperset(map(_place, file.chunks))}

    def backup(
        self,
        run: RunDirectory,
        progress: Callable[[int, int], object] = lambda done, total: None,
        work: str = "",
    ) -> BackedUp:
        """Copies a run; others may go on using it. `progress` gets bytes done and in total. For a job, `work`, there is
        one copy.

        Killed at any moment it leaves the earlier backups whole, and the next one uses the pieces that were sent. What
        models name and only earlier backups have is in the new one too, pruned or not. Raises `DataError` where a file
        of a model is nowhere.
        """
        began, sent, done = time.monotonic(), 0, 0
        past = [one for one in self.ls() if one.identity == run.identity]
        if made := next((one for one in past if work and one.work == work), None):
            return BackedUp(made.name, len(made.files), made.size_bytes, 0, 0.0, (), ())
        there = set(self._list("chunks/"))
        before = self._blobs(past, there)
        with _snapshots(run) as snapshots:
            sources = snapshots | dict(_files(run.path))
            left_out = {name: why for name, path in sources.items() if (why := _no_file(path))} | names_refused(sources)
            sources = {name: source for name, source in sources.items() if name not in left_out}
            named = {name: pruned for name, pruned in _model_files(snapshots["games.db"]) if name not in sources}
            files = {name: before[name] for name in named if name in before}
            for name, pruned in named.items():
                if name not in files and not pruned:
                    raise DataError(
                        f"{run.path / name}, a model's file, is missing, and {self.place} has no copy of it"
                    )
            lost = tuple(name for name in named if name not in files and any(name in one.files for one in past))
            total = sum(source.stat().st_size for source in sources.values())
            for name, source in sources.items():
                if name in before:
                    files[name] = before[name]
                else:
                    files[name], new = self._send(source, there)
                    sent += new
                done += files[name].size_bytes
                progress(done, total)
        number = 1 + max((_order(name)[0] for name in self._names()), default=0)
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{number}"
        document = {
            "format": FORMAT,
            "identity": run.identity,
            "at": time.time(),
            "work": work,
            "files": {path: [file.size_bytes, file.sha256, *file.chunks] for path, file in files.items()},
        }
        self._settle()
        self._put(f"manifests/{name}.json", json.dumps(document).encode())
        self._settle()
        if {_place(chunk) for file in files.values() for chunk in file.chunks} - set(self._list("chunks/")):
            self._delete(f"manifests/{name}.json")
            raise DataError(
                f"{self.place}: older backups were deleted during this one, and pieces with them: repeat it"
            )
        size_bytes = sum(file.size_bytes for file in files.values())
        refused = tuple(f"{name}: {why}" for name, why in left_out.items())
        return BackedUp(name, len(files), size_bytes, sent, time.monotonic() - began, lost, refused)

    def restore(
        self, manifest: Manifest, path: Path, progress: Callable[[int, int], object] = lambda d, t: None
    ) -> None:
        """Writes a backup to a new or empty directory, every file compared with its hash.

        Raises `CorruptBlob` where a piece is missing or damaged. The directory becomes a run with its last file; a
        restore that was killed is begun again in another directory.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DataError(f"{path} is not empty: restore into a new or an empty directory")
        done = 0
        for name in sorted(manifest.files, key=lambda name: name == MARKER):
            file = manifest.files[name]
            target = path / name
            with space_checked(target):
                make_directory(target.parent)
                self._fetch(file, target)
            done += file.size_bytes
            progress(done, manifest.size_bytes)

    def check(self, manifest: Manifest, progress: Callable[[int, int], object] = lambda done, total: None) -> list[str]:
        """What of a backup is missing or damaged; every piece is read.

        Damaged pieces are deleted, so that the next backup sends them again.
        """
        found, done = [], 0
        for name, file in manifest.files.items():
            try:
                self._fetch(file, None)
            except CorruptBlob as error:
                found.append(f"{name}: {error}")
                self._drop_damaged(file)
            done += file.size_bytes
            progress(done, manifest.size_bytes)
        return found

    def prune(self, keep: int, made: str = "") -> list[str]:
        """Deletes all but the newest `keep` backups of each run, never the one just `made`, and the pieces that only
        they have; their names. No piece is deleted while there is a manifest that cannot be read: it may name it."""
        by_run: dict[str, list[Manifest]] = {}
        sound, unreadable = self.look()
        for one in sound:
            by_run.setdefault(one.identity, []).append(one)
        gone = [one for same in by_run.values() for one in same[: -max(1, keep)] if one.name != made]
        for one in gone:
            self._delete(f"manifests/{one.name}.json")
        if gone and not unreadable:
            kept = {_place(chunk) for one in self.ls() for file in one.files.values() for chunk in file.chunks}
            for chunk in set(self._list("chunks/")) - kept:
                self._delete(chunk)
        return [one.name for one in gone]

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _send(self, source: Path, there: set[str]) -> tuple[Stored, int]:
        """The file as stored, and how many bytes of it were not there."""
        whole, chunks, size, sent = hashlib.sha256(), [], 0, 0
        with source.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                whole.update(piece)
                chunks.append(chunk := hashlib.sha256(piece).hexdigest())
                size += len(piece)
                if _place(chunk) not in there:
                    self._put(_place(chunk), piece)
                    there.add(_place(chunk))
                    sent += len(piece)
        return Stored(size, whole.hexdigest(), tuple(chunks)), sent

    def _fetch(self, file: Stored, target: Path | None) -> None:
        """The pieces of a file, compared with their hashes, into a new file."""
        whole, size = hashlib.sha256(), 0
        with Path(os.devnull).open("wb") if target is None else target.open("xb") as out:
            for chunk in file.chunks:
                if (piece := self._piece(chunk)) is None:
                    raise CorruptBlob(f"{self.place}/{_place(chunk)} is missing: take another backup")
                if hashlib.sha256(piece).hexdigest() != chunk:
                    raise CorruptBlob(f"{self.place}/{_place(chunk)} is damaged: take another backup")
                size += len(piece)
                if size > file.size_bytes:
                    raise CorruptBlob("its pieces are more than the file that was stored: take another backup")
                whole.update(piece)
                out.write(piece)
            if target is not None:
                out.flush()
                os.fsync(out.fileno())
        if (size, whole.hexdigest()) != (file.size_bytes, file.sha256):
            raise CorruptBlob("its pieces do not make the file that was stored: take another backup")
        if target is not None:
            sync_directory(target.parent)

    def _piece(self, chunk: str) -> bytes | None:
        """A piece, not compared; none where there is none."""
        try:
            return self._get(_place(chunk))
        except FileNotFoundError:
            return None

    def _drop_damaged(self, file: Stored) -> None:
        """Deletes those pieces of a file that are damaged, also when read once more."""
        for chunk in file.chunks:
            if (piece := self._piece(chunk)) is not None and hashlib.sha256(piece).hexdigest() != chunk:
                self._delete(_place(chunk))

    # -- the object store ----------------------------------------------------------------------------------------------

    def _put(self, path: str, content: bytes) -> None:
        import obstore

        with self._answered():
            obstore.put(self._store, path, content)

    def _get(self, path: str) -> bytes:
        import obstore

        with self._answered():
            return bytes(obstore.get(self._store, path).bytes())

    def _list(self, prefix: str) -> list[str]:
        import obstore

        with self._answered():
            return [str(found["path"]) for page in obstore.list(self._store, prefix) for found in page]

    def _delete(self, path: str) -> None:
        import obstore

        with self._answered():
            obstore.delete(self._store, path)

    def _settle(self) -> None:
        """What was sent survives a power cut from here on; an object store promises that by itself."""
        if self.local:
            os.sync()

    @contextmanager
    def _answered(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            said = str(error).partition("\n")[0]
            raise DataError(f"the place of backups {self.place} does not work: {said}") from error


def _place(chunk: str) -> str:
    return f"chunks/{chunk[:2]}/{chunk}"


@contextmanager
def _snapshots(run: RunDirectory) -> Iterator[dict[str, Path]]:
    """The databases as they are now, in files of their own; in this order, so that the games' has what the registry
    names."""
    if not isinstance(run.fabric, LocalFabric):
        raise DataError("a run in memory has nothing to copy")
    token = secrets.token_hex(8)
    with scratch() if run.database.read_only else nullcontext(run.path) as place:
        found = {name: place / f"{TEMPORARY}{token}-{name}" for name in DATABASES}
        try:
            run.fabric.database.backup(found["fabric.db"])
            run.database.backup(found["games.db"])
            yield found
        finally:
            for path in found.values():
                path.unlink(missing_ok=True)


def _model_files(snapshot: Path) -> list[tuple[str, bool]]:
    """The blobs that models name, as paths in the run, and whether they were pruned."""
    query = "SELECT {0}, pruned IS NOT NULL FROM models WHERE {0} IS NOT NULL"
    with closing(sqlite3.connect(snapshot)) as connection:
        rows = connection.execute(f"{query.format('checkpoint')} UNION {query.format('onnx')} ORDER BY 2 DESC")
        return [(f"blobs/{blob[:2]}/{blob}", bool(pruned)) for blob, pruned in rows]  # not pruned by one: that counts


def _files(
    directory: Path, of: str = "", above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[tuple[str, Path]]:
    """Every file of a run that is copied as it is, with its path in the run, links and what they lead to too; and what
    else there is that is no directory."""
    known = directory.stat()
    above |= {(known.st_dev, known.st_ino)}
    for path in sorted(directory.iterdir()):
        name = of + path.name
        if name in LEFT_OUT or path.name.startswith((TEMPORARY, *DATABASES)):
            continue
        if path.is_dir() and ((found := path.stat()).st_dev, found.st_ino) not in above:
            yield from _files(path, f"{name}/", above)
        elif os.path.lexists(path):
            yield name, path


def _no_file(path: Path) -> str | None:
    """Why what is no directory to go into cannot be copied; none for a file."""
    if path.is_file():
        return None
    if path.is_dir():
        return "it is a link to a directory that it is in"
    return "it is a link to what is not there" if path.is_symlink() else "it is neither a file nor a directory"


def _order(name: str) -> tuple[int, str]:
    """What backups are sorted by."""
    numbered = NUMBERED.fullmatch(name)
    return int(numbered[1]) if numbered else 0, name


def names_refused(names: Iterable[str]) -> dict[str, str]:
    """Of those names of files that no backup may hold, as writing them could leave the directory, spoil another file or
    fail on some system: why."""
    found, taken = dict[str, str](), dict[str, str]()
    for name in sorted(names):
        folded = name.casefold()
        before = [taken[part] for part in _ways(folded) if part in taken]
        if (why := _name_refused(name)) or before:
            found[name] = why or f"it is the same as {before[0]!r}, or inside it, where capitals do not count"
        taken[folded] = name
    return found


def _ways(name: str) -> Iterator[str]:
    """The name and the directories that it is in."""
    parts = name.split("/")
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def _name_refused(name: str) -> str | None:
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it is not a path inside the directory"
    if not name.isprintable() or "\\" in name or ":" in name:
        return "it has a character that not every system takes in a name"
    if any(len(part.encode()) > PART_BYTES or part.endswith((".", " ")) for part in parts):
        return "it has a part that is too long, or ends in a dot or a space"
    if any(map(DEVICE.fullmatch, parts)):
        return "it is a device on some systems"
    beside = any(name.casefold().startswith(f"{database}-") for database in DATABASES)
    if parts[0].casefold() in LEFT_OUT or beside or any(part.startswith(TEMPORARY) for part in parts):
        return "it is of a process, not of the run"
    return None


def _read_manifest(name: str, content: bytes) -> Manifest:
    """Raises `FormatTooNew`, or `CorruptBlob` for anything but what `backup` writes."""
    try:
        document = json.loads(content, object_pairs_hook=_object)
        format_, identity, at = document["format"], document["identity"], float(document["at"])
        if type(format_) is int and format_ > FORMAT:
            raise FormatTooNew(f"{name} has format {format_}; this release reads up to {FORMAT}")
        if type(format_) is not int or format_ < 1 or not isinstance(identity, str) or not math.isfinite(at):
            raise ValueError("its format, the run or the time is none")
        files = {path: _stored(row) for path, row in document["files"].items()}
        if MARKER not in files:
            raise ValueError(f"it has no {MARKER}")
        for path, why in names_refused(files).items():
            raise ValueError(f"the name {path!r}: {why}")
        return Manifest(name, identity, at, files, str(document.get("work", "")))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CorruptBlob(f"{name} is no manifest of a backup ({said}): delete it, and use another one") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has a name twice")
    return found


def _stored(row: list[Any]) -> Stored:
    size, *hashes = row
    if (
        type(size) is not int
        or size < 0
        or not hashes
        or not all(isinstance(h, str) and SHA256.fullmatch(h) for h in hashes)
    ):
        raise ValueError(f"{row!r:.60} is not a file's size and hashes")
    return Stored(size, hashes[0], tuple(hashes[1:]))
