"""Recorded games replayed ply by ply against this engine, and our own games written in the same form.

The form is described in docs/formats.md ("Recorded games"): one JSON object a line, one game a line, all legal moves
at every ply. A recorded game starts from its `init`, so positions from the middle of a game are compared too.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ringrift.errors import CorruptBlob, FormatTooNew, RulesError
from ringrift.rules.config import config_info
from ringrift.rules.game import Game, Options
from ringrift.texts import read_json, why

FORMAT = 1
LONGEST = 1 << 25  #: letters of a line; the longest recorded game has 3.4 million
#: What `make_game` of `compare_file` is called with: config, canonical state string, options.
MakeGame = Callable[[str, str, Options], Game]


@dataclass
class Difference:
    """The first ply of a game at which this engine and the recording differ."""

    game: int
    """line of the file, from 1"""
    ply: int
    """index of the ply, from 0; the number of plies when the end differs"""
    name: str = ""
    """`id` of the game, or its seed"""
    missing: list[str] = field(default_factory=list)
    """recorded legal moves that this engine does not list"""
    extra: list[str] = field(default_factory=list)
    """moves listed by this engine that are not recorded"""
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    """field → (recorded, ours)"""

    def __str__(self) -> str:
        lines = [f"game {self.game} ({self.name}), ply {self.ply}"]
        lines += [f"missing: {' '.join(self.missing)}"] if self.missing else []
        lines += [f"extra: {' '.join(self.extra)}"] if self.extra else []
        for name, (recorded, ours) in self.fields.items():
            lines += [f"{name}: recorded {recorded!r}", f"{'':{len(name)}}      ours {ours!r}"]
        return "\n    ".join(lines)


@dataclass
class FileReport:
    """What the comparison of one file found."""

    file: str
    games: int = 0
    """games replayed"""
    skipped: int = 0
    """contract cases that are not marked `clean`"""
    plies: int = 0
    moves: int = 0
    """legal moves listed, summed over the plies"""
    differences: int = 0
    """games that differ"""
    first: Difference | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON; `first` only where there is a difference."""
        names = ("file", "games", "plies", "moves", "differences")
        return {name: getattr(self, name) for name in names} | ({"first": asdict(self.first)} if self.first else {})

    def __str__(self) -> str:
        skipped = f" ({self.skipped} not clean, skipped)" if self.skipped else ""
        counts = f"{self.games} games{skipped}, {self.plies} plies, {self.moves} legal moves"
        return f"{self.file}: {counts}: {self.differences} differences" + (f"\n  {self.first}" if self.first else "")


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, unpacked where its name ends in `.gz`.

    Raises:
        CorruptBlob: truncated or not what its name says.
    """
    try:
        packed = path.suffix == ".gz"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as file:
            while line := file.readline(LONGEST):
                if len(line) == LONGEST:
                    raise CorruptBlob(f"{path} has a line of {LONGEST} letters, which no recorded game has")
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise CorruptBlob(f"{path} is truncated or damaged ({error}); fetch it again") from error
    except OSError as error:
        raise CorruptBlob(f"{path} cannot be read: {error.strerror or error}") from error


def compare_file(path: Path, make_game: MakeGame = Game.from_canonical) -> FileReport:
    """Replays every game of a file.

    Raises:
        CorruptBlob: the file is damaged, holds no game, or a line is not a recorded game.
        FormatTooNew: a later version of the format.
    """
    report = FileReport(str(path))
    for number, line in enumerate(lines_of(path), start=1):
        try:
            recorded = read_json(line)
            version = recorded["v"]
            if version > FORMAT:
                raise FormatTooNew(f"{path}, line {number} has format {version}; this version reads up to {FORMAT}")
            if not recorded.get("clean", True):
                report.skipped += 1
                continue
            plies = len(recorded["plies"])
            config, options = f"{recorded['board']}_{recorded['players']}p", Options.from_dict(recorded["opts"])
            config_info(config)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptBlob(f"{path}, line {number} is not a recorded game: {why(error)}") from error
        report.games += 1
        report.plies += plies
        name = str(recorded.get("id", f"seed {recorded.get('seed')}"))
        try:
            game = make_game(config, recorded["init"], options)
            found = compare_game(recorded, game, report)
        except RulesError as error:
            found = Difference(0, 0, fields={"init": (recorded["init"], str(error))})
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise CorruptBlob(f"{path}, line {number} is not a recorded game: {why(error)}") from error
        if found:
            found.game, found.name = number, f"{config}, {name}"
            report.differences += 1
            report.first = report.first or found
    if report.games + report.skipped == 0:
        raise CorruptBlob(f"{path} holds no games")
    return report


def compare_game(recorded: dict[str, Any], game: Game, report: FileReport) -> Difference | None:
    """Plays the recorded plies; the first difference, or None."""
    lps = None  # contract cases record no tracker
    for ply, row in enumerate(recorded["plies"]):
        found = Difference(0, ply)
        differ = found.fields

        def compare(name: str, theirs: Any, ours: Any, differ: dict[str, Any] = differ) -> None:
            if theirs != ours:
                differ[name] = (theirs, ours)

        listed = game.legal_text()
        report.moves += row["n"]
        if listed != row["L"]:
            ours, theirs = listed.split("|"), row["L"].split("|")
            found.missing, found.extra = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
            if set(ours) == set(theirs):
                differ["order of the legal list"] = (row["L"], listed)
        compare("phase and seat", row["q"], f"{game.phase.name.lower()}:{game.to_move}")
        compare("number of legal moves", row["n"], listed.count("|") + 1)
        compare("refused slides", row.get("bad", []), game.refused_moves())
        move = row["m"]
        try:
            cells = game.extractions(move) if move[0] == "R" else []
            compare("extraction cells", sorted(row.get("xs", [])), sorted(cells))
            game.push(f"{move}@{row['x']}" if "x" in row else move)
        except RulesError as error:
            differ["played move"] = (move, str(error))
        else:
            state = game.canonical()
            if "s" in row:
                compare("state", row["s"], state)
            compare("hash of the state", row["h"], hashlib.sha256(state.encode()).hexdigest()[:16])
            lps = row.get("lps", lps)
            if lps is not None:
                compare("last-player-standing tracker", lps, game.lps)
        if differ or found.missing or found.extra:
            return found
    return compare_end(recorded, game)


def compare_end(recorded: dict[str, Any], game: Game) -> Difference | None:
    """Winner, reason, detail, plies and scores; contract cases have no end."""
    if (end := recorded.get("end")) is None:
        return None
    result = game.outcome()
    cut_off = end["reason"] in ("cap", "timecap")
    ours = {
        "winner": result and result.winner,
        "reason": result.reason if result else end["reason"] if cut_off else None,
        "detail": result and result.detail,
        "plies": game.ply,
        "scores": [score._asdict() for score in game.scores()],
    }
    fields = {name: (end[name], value) for name, value in ours.items() if end.get(name) != value}
    return Difference(0, game.ply, fields=fields) if fields else None


def compare_files(paths: list[Path], jobs: int = 1) -> Iterator[FileReport]:
    """A report for each file, in order; `jobs` processes share the files."""
    if jobs == 1 or len(paths) == 1:
        yield from map(compare_file, paths)
        return
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(min(jobs, len(paths))) as pool:
        yield from pool.map(compare_file, paths)


def record_game(config: str, seed: int, options: Options | None = None, cap: int | None = None) -> dict[str, Any]:
    """A game of uniformly random legal moves in the recorded form; `cap` cuts it off after so many plies."""
    info, game, rng = config_info(config), Game(config, options), np.random.default_rng(seed)
    every = 1 if info.cells < 100 else 8  # on large boards most states are given by their hash alone
    plies: list[dict[str, Any]] = []
    init, lps = game.canonical(), None
    while not game.is_over and len(plies) != cap:
        listed = game.legal_text()
        texts = listed.split("|")
        choice = int(rng.integers(len(texts)))
        move = texts[choice]
        row: dict[str, Any] = {
            "q": f"{game.phase.name.lower()}:{game.to_move}",
            "n": len(texts),
            "i": choice,
            "m": move,
        }
        row["L"] = listed
        if cells := game.extractions(move) if move[0] == "R" else []:
            row |= {"x": str(rng.choice(cells)), "xs": cells}
        if bad := game.refused_moves():
            row["bad"] = bad
        game.push(f"{move}@{row['x']}" if cells else move)
        row["h"] = game.canonical_hash()
        if game.is_over or (len(plies) + 1) % every == 0:
            row["s"] = game.canonical()
        if game.lps != lps:
            row["lps"] = lps = game.lps
        plies.append(row)
    result, chosen = game.outcome(), game.options
    end = {
        "winner": result and result.winner,
        "reason": result.reason if result else "cap",
        "detail": result and result.detail,
        "plies": game.ply,
        "scores": [score._asdict() for score in game.scores()],
    }
    rings = chosen.rings_per_player or info.rings_per_player
    effective = {
        "ringsPerPlayer": rings,
        "victoryThreshold": (2 * rings * (info.players + 1) + 3) // 6,
        "territoryMinimum": info.territory_minimum,
        "lineLength": info.line_length,
        "lpsRounds": chosen.lps_rounds,
        "swapRule": chosen.swap_rule,
    }
    head = {"v": FORMAT, "board": info.board, "players": info.players, "opts": chosen.to_dict(), "seed": seed}
    return head | {"policy": "uniform", "cfg": effective, "init": init, "plies": plies, "end": end}


def emit(path: Path, config: str, games: int, seed: int) -> int:
    """Writes random games of consecutive seeds in the recorded form; the number of plies written."""
    plies = 0
    with gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
        for i in range(games):
            recorded = record_game(config, seed + i)
            plies += recorded["end"]["plies"]
            file.write(json.dumps(recorded, separators=(",", ":")) + "\n")
    return plies
