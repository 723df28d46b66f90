"""Games and shards: nothing finished is lost, nothing unsound gets through, each game is exported once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sample_oracle import Ending, pack
from stored import CONFIG, finished
from typer.testing import CliRunner

from ringrift.cli import app
from ringrift.encoding import ENCODING_HASH, encode, policy_addresses
from ringrift.errors import CorruptBlob, DataError, EncodingMismatch, FormatTooNew
from ringrift.evaluators import ModelMetadata
from ringrift.rules import CONFIGS, Game, Record, SearchStats, config_info
from ringrift.store import GameStore, ModelStore, RunDirectory, samples
from ringrift.store.check import check
from ringrift.store.games import StoredGame
from ringrift.store.provenance import Provenance
from ringrift.store.samples import ExportSettings, export, read_shard, shards
from ringrift.store.validate import validate
from ringrift.store.window import WindowSettings, replay_window


def decided(seed: int, config: str = CONFIG) -> int:
    """How many decisions of `finished(seed, config)` were searched."""
    search = finished(seed, config).search
    assert search is not None
    return len(search.ply)


def fill(run: RunDirectory, seeds: range, config: str = CONFIG) -> None:
    store = GameStore(run)
    store.add_many([(finished(seed, config).to_bytes(), f"work {config} {seed}") for seed in seeds])
    done = validate(run)
    assert (done.valid, done.quarantined) == (len(seeds), 0)


# -- games


def test_adding_twice_is_a_no_op_and_another_process_validates(run: RunDirectory) -> None:
    store, content = GameStore(run), finished(0).to_bytes()
    assert store.add(content, "a")
    assert not store.add(content, "a")
    other = finished(1).to_bytes()
    assert store.add_many([(content, "a"), (other, "b"), (other, "b")]) == 1
    (row,) = store.counts()
    assert (row.config, row.games, row.waiting, row.plies) == (
        CONFIG,
        2,
        2,
        len(finished(0).moves) + len(finished(1).moves),
    )
    assert not list(store.iter_valid(CONFIG))
    done = validate(run)
    assert (done.valid, done.quarantined) == (2, 0)
    assert store.counts()[0].waiting == 0
    assert [game.work_id for game in store.iter_valid(CONFIG)] == ["a", "b"]
    assert [game.work_id for game in store.iter_valid(CONFIG, since_id=1)] == ["b"]
    for played_by, validated_by in run.database.rows("SELECT played_by, validated_by FROM games"):
        assert f":{os.getpid()}:" in played_by
        assert f":{os.getpid()}:" not in validated_by
    assert validate(run).valid == 0


def test_the_same_game_is_valid_once(run: RunDirectory) -> None:
    store = GameStore(run)
    again = dataclasses.replace(finished(0), seed=5, players=("x", "y"), search=None)
    store.add_many([(finished(0).to_bytes(), "a"), (again.to_bytes(), "b"), (finished(1).to_bytes(), "c")])
    done = validate(run)
    assert (done.valid, done.quarantined) == (2, 1)
    assert store.quarantined() == [(2, "b", "the same game as game 1 (work a)")]
    with pytest.raises(sqlite3.IntegrityError, match="content"), run.database.transaction() as connection:
        connection.executescript(
            "UPDATE games SET state = 'received', problem = NULL, validated_by = NULL, quarantined_at = NULL,"
            " quarantined_by = NULL WHERE id = 2; UPDATE games SET state = 'valid', validated_by = 'me',"
            " evidence = ringrift_evidence(record, 'me', plies, winner, reason) WHERE id = 2"
        )


def test_work_ids_reads_only_those_with_the_prefix(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    store, content, rows = GameStore(run), finished(0).to_bytes(), run.database.rows
    known = {"a", "a/1/0", "a/1/9", "a/1/ü", "a/1/\U0001f600", "a/10/0", "a/1", "a0", "b/1/0", "ä/1/0", "A/1/0"}
    store.add_many((content, work_id) for work_id in known)
    for prefix in ("a/1/", "a/1", "a", "", "b/1/0", "ä", "c", "%"):
        assert store.work_ids(prefix) == {work_id for work_id in known if work_id.startswith(prefix)}
    plans: list[str] = []

    def explained(query: str, parameters: list[object]) -> list[sqlite3.Row]:
        plans.extend(row["detail"] for row in rows(f"EXPLAIN QUERY PLAN {query}", parameters))
        return rows(query, parameters)

    monkeypatch.setattr(run.database, "rows", explained)
    store.work_ids("a/1/")
    assert "(work_id>? AND work_id<?)" in plans[0]


def test_unreadable_records_are_refused_with_nothing_stored(run: RunDirectory) -> None:
    good = finished(0).to_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    for bad in (b"", good[:-1], good[: len(good) // 2], bytes(changed), b"nonsense"):
        with pytest.raises(CorruptBlob, match="record of work bad"):
            GameStore(run).add_many([(good, "good"), (bad, "bad")])
    assert not GameStore(run).counts()


def test_what_does_not_replay_is_quarantined_with_the_reason(run: RunDirectory) -> None:
    record = finished(0)
    search = record.search
    assert search is not None
    moves = record.moves.copy()
    moves[[3, 4]] = moves[[4, 3]]
    cut = Game(CONFIG, record.options)
    cut.push_all_packed(record.moves[:6])
    unfinished = Record.from_game(cut, seed=0, players=record.players)
    offsets = search.offsets.copy()
    offsets[-1] += 1
    longer = dataclasses.replace(search, policy=np.append(search.policy, np.float16(0)), offsets=offsets)
    bad = {
        "moves": dataclasses.replace(record, moves=moves),
        "hash": dataclasses.replace(record, final_hash="0" * 16),
        "winner": dataclasses.replace(record, winner=3 - record.winner),
        "unfinished": unfinished,
        "policy": dataclasses.replace(record, search=longer),
    }
    store = GameStore(run)
    store.add(record.to_bytes(), "good")
    for name, unsound in bad.items():
        store.add(unsound.to_bytes(), name)
    done = validate(run)
    assert (done.valid, done.quarantined) == (1, len(bad))
    reasons = {work_id: reason for _, work_id, reason in store.quarantined()}
    assert reasons.keys() == bad.keys()
    assert all(reasons.values())
    assert "not over after its 6 plies" in reasons["unfinished"]
    assert store.counts()[0].quarantined == len(bad)
    assert not check(run)
    with pytest.raises(sqlite3.IntegrityError, match="stays quarantined"), run.database.transaction() as connection:
        connection.execute("UPDATE games SET state = 'valid', problem = NULL WHERE work_id = 'hash'")
    with pytest.raises(sqlite3.IntegrityError, match="never deleted"), run.database.transaction() as connection:
        connection.execute("DELETE FROM games")


def test_kill_9_loses_no_finished_game(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "record").write_bytes(finished(0).to_bytes())
    code = """
import itertools, sys
from pathlib import Path
from ringrift.store import GameStore, RunDirectory
store, record = GameStore(RunDirectory.open(sys.argv[1])), Path(sys.argv[2]).read_bytes()
for n in itertools.count():
    store.add(record, f"{sys.argv[3]}/{n}")
    print(n, flush=True)
"""
    promised = 0
    for attempt, delay in enumerate((0.02, 0.1)):
        command = [sys.executable, "-c", code, str(run.path), str(tmp_path / "record"), str(attempt)]
        player = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert player.stdout is not None
        player.stdout.readline()
        time.sleep(delay)
        player.kill()
        promised += 1 + len(player.stdout.read().splitlines())
        player.communicate()
        stored = GameStore(run).counts()[0].games
        assert promised <= stored <= promised + attempt + 1
    done = validate(run)
    assert (done.valid, done.valid + done.quarantined) == (1, stored), "they are all the same game"
    assert not check(run)


def test_kill_9_of_the_validator_loses_nothing(run: RunDirectory) -> None:
    store = GameStore(run)
    store.add_many([(finished(0).to_bytes(), str(n)) for n in range(300)])
    code = "import sys; from pathlib import Path; from ringrift.store import RunDirectory\n"
    code += "from ringrift.store.validate import validate\n"
    code += "validate(RunDirectory.open(Path(sys.argv[1])), lambda done: print(done, flush=True))"
    judge = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert judge.stdout is not None
    judge.stdout.readline()  # the first batch is judged
    judge.kill()
    judge.communicate()
    done = 300 - store.counts()[0].waiting
    assert done > 0
    assert done + sum(dataclasses.astuple(validate(run))) == 300


def full_disk(directory: Path) -> Callable[[], None]:
    """Makes the files of `directory` unable to grow; gives what undoes it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_one_clear_error_and_loses_nothing(run: RunDirectory) -> None:
    store, content = GameStore(run), finished(0).to_bytes()
    added = 0
    undo = full_disk(run.path)

    def add_for_ever() -> None:
        nonlocal added
        for n in range(10_000):
            store.add(content, str(n))
            added += 1

    try:
        with pytest.raises(DataError, match=r"no space left to write .*games\.db"):
            add_for_ever()
        with pytest.raises(DataError, match="no space left"):
            run.fabric.blobs.put(b"x" * 500_000)
    finally:
        undo()
    assert store.counts()[0].games == added > 0
    assert store.add(content, str(added))
    assert sum(dataclasses.astuple(validate(run))) == added + 1


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root can make a small disk")
def test_really_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with RunDirectory.create(disk / "run") as run:
            store, content, done = GameStore(run), finished(0).to_bytes(), []

            def add_for_ever() -> None:
                for n in range(10_000):
                    store.add(content, str(n))
                    done.append(n)

            with pytest.raises(DataError, match="no space left"):
                add_for_ever()
            assert 0 < len(done) == store.counts()[0].games
        with RunDirectory.open(disk / "run") as run:
            assert GameStore(run).counts()[0].games == len(done)
            assert not check(run)
    finally:
        subprocess.run(["umount", disk], check=True)


# -- shards


def test_pack_round_trips() -> None:
    rng = np.random.default_rng(0)
    planes = rng.integers(0, 2, (5, 6, 9, 9), dtype=np.uint8)
    planes[:, 1] = 0
    planes[:, 2] = rng.integers(0, 256, (5, 9, 9))
    planes[:, 4] *= 5
    bits, packed = pack(planes)
    assert bits.tolist() == [1, 0, 8, 1, 3, 1]
    held = dataclasses.replace(blank(), box=np.array(planes.shape[1:]), plane_bits=bits, planes_packed=packed)
    assert np.array_equal(held.planes(), planes)
    assert np.array_equal(held.planes(np.array([3, 1])), planes[[3, 1]])


def blank() -> samples.Samples:
    return samples.Samples(**{field.name: np.zeros(0) for field in dataclasses.fields(samples.Samples)})  # type: ignore[arg-type]


@pytest.mark.parametrize("config", ["square8_3p", "hex8_2p"])
def test_shard_says_what_the_games_say(run: RunDirectory, config: str) -> None:
    fill(run, range(4), config)
    made = export(run, config)
    (shard,) = made.shards
    path = run.fabric.blobs.path(shard.blob)
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
        assert str(file["encoding_hash"]) == ENCODING_HASH
    held = read_shard(path)
    assert len(held) == made.samples == sum(decided(seed, config) for seed in range(4))
    assert held.games.tolist() == sorted(set(held.game_id.tolist())) == [1, 2, 3, 4]
    assert len(set(held.symmetry.tolist())) > 2
    records = {game.id: game.read() for game in GameStore(run).iter_valid(config)}
    offsets, addresses, targets = held.policy(np.arange(len(held)))
    planes = held.planes()
    for row in range(len(held)):
        record, own = records[int(held.game_id[row])], slice(offsets[row], offsets[row + 1])
        game = Game(config, record.options)
        game.push_all_packed(record.moves[: held.ply[row]])
        g = int(held.symmetry[row])
        shown = game.transform(g)
        expected, values = encode([shown])
        assert np.array_equal(planes[row], expected[0])
        assert np.array_equal(held.globals[row], values[0])
        assert np.array_equal(addresses[own], policy_addresses(shown))
        search = record.search
        assert search is not None
        at = search.ply.tolist().index(game.ply)
        policy = search.policy[search.offsets[at] : search.offsets[at + 1]].astype(np.float32)
        shares = dict(zip(map(str, shown.playable_moves()), targets[own].tolist(), strict=True))
        moved = [shares[str(game.transform_move(move, g))] for move in game.playable_moves()]
        assert np.allclose(moved, policy / policy.sum(), atol=1e-3)
        seat = game.to_move - 1
        assert held.value_target[row, (record.winner - 1 - seat) % game.num_seats] == held.value_target[row].sum() == 1
        assert np.roll(held.rank_target[row], seat).tolist() == list(record.ranks)
        assert np.allclose(np.roll(held.root_value[row], seat), search.root_value[at])
        assert held.policy_weight[row] == search.full[at]
        won = np.eye(game.num_seats)[record.winner - 1]
        for place, horizon in enumerate((6, 20)):
            later = [*search.root_value[at + 1 :].astype(np.float64), won]
            weights = (1 - 1 / horizon) ** np.arange(len(later))
            weights[:-1] /= horizon
            ahead = np.roll(held.short_term_value[row, place], seat)
            assert np.allclose(ahead, weights @ later, atol=1e-3)
        assert held.surprise[row] == 0
        final = record.replay()
        owners = dict.fromkeys(cells(final.transform(g)), 0) | territory(final.transform(g))
        rotated = [owner and (owner - 1 - seat) % game.num_seats + 1 for owner in owners.values()]
        on_board = np.argwhere(planes[row, 0])
        assert held.ownership[row][tuple(on_board.T)].tolist() == rotated
        assert held.ownership[row].sum() == sum(rotated)
        info = config_info(config)
        for share, limit, scored in (
            (held.territory_share, info.territory_minimum, "terr"),
            (held.eliminated_share, info.victory_threshold, "elim"),
        ):
            ends = [min(1, getattr(score, scored) / limit) for score in final.scores()]
            if scored == "terr" or record.options.rings_per_player is None:  # else the threshold is another
                assert np.allclose(np.roll(share[row], seat), ends, atol=1e-3)
        assert held.plies_left[row] == len(record.moves) - held.ply[row]


def territory(game: Game) -> dict[str, int]:
    """Owner of each collapsed cell, read from the text of the position."""
    pairs = (pair.split(":") for pair in game.canonical().split(";")[-1].split())
    return {cell: int(owner) for cell, owner in pairs}


def cells(game: Game) -> list[str]:
    """The cells of the board by x, then y."""
    info = config_info(game.config)
    r = info.width // 2 if info.is_hex else 0
    box = [(x - r, y - r) for x in range(info.height) for y in range(info.width)]
    return [f"{x},{y}" for x, y in box if not info.is_hex or abs(x + y) <= r]


@pytest.mark.parametrize("symmetry", [0, 1, 6])
def test_ownership_of_a_planted_end(symmetry: int) -> None:
    """Three cells of seat 2 and one of seat 3 in a corner: each mover sees them from its own place."""
    game = Game.parse(
        "square8_3p;-;over:1;game_over;0;-;-;0;0,24,0/16,2,3/18,0,1;3,4:1;;0,0:2 0,1:2 0,2:3 1,0:2;"
        "end=ring_elimination/threshold"
    )
    record = Record.from_game(game, seed=0, players=("a",) * 3)
    ending = Ending(record)
    moved = game.transform(symmetry)
    for mover in (1, 2, 3):
        owned = ending.ownership(symmetry, mover)
        assert owned.shape == (8, 8)
        found = {f"{x},{y}": int(owned[x, y]) for x, y in np.argwhere(owned).tolist()}
        assert found == {cell: (owner - mover) % 3 + 1 for cell, owner in territory(moved).items()}
        assert sorted(found.values()) == sorted([(2 - mover) % 3 + 1] * 3 + [(3 - mover) % 3 + 1])
        territory_share, eliminated_share = ending.shares(mover)
        assert territory_share == pytest.approx(np.roll([0, 3 / 22, 1 / 22], 1 - mover))
        assert eliminated_share == pytest.approx(np.roll([1, 2 / 24, 0], 1 - mover))
    corner = {0: (0, 0), 1: (0, 7)}
    if symmetry in corner:
        assert ending.ownership(symmetry, 2)[corner[symmetry]] == 1
        assert ending.ownership(symmetry, 1)[corner[symmetry]] == 2


def test_without_search_the_played_moves_are_the_targets(run: RunDirectory) -> None:
    GameStore(run).add(finished(0, searched=False).to_bytes(), "a")
    validate(run)
    (shard,) = export(run, CONFIG, ExportSettings(symmetries=False)).shards
    held = read_shard(run.fabric.blobs.path(shard.blob))
    offsets, _, targets = held.policy(np.arange(len(held)))
    assert set(targets.tolist()) == {0.0, 1.0}
    assert np.array_equal(np.add.reduceat(targets, offsets[:-1]), np.ones(len(held)))
    assert not held.symmetry.any()


def test_games_without_a_decision_make_an_empty_shard(run: RunDirectory) -> None:
    nothing = np.zeros((0, 2))
    none = SearchStats(nothing[:, 0], np.zeros(1), nothing[:, 0], nothing, nothing[:, 0])  # type: ignore[arg-type]
    records = [dataclasses.replace(finished(seed), search=none).to_bytes() for seed in (0, 1)]
    GameStore(run).add_many([(record, f"work {n}") for n, record in enumerate(records)])
    validate(run)
    (shard,) = export(run, CONFIG).shards
    held = read_shard(run.fabric.blobs.path(shard.blob))
    assert (len(held), held.games.tolist(), held.planes().shape[0]) == (0, [1, 2], 0)
    assert export(run, CONFIG).games == 0


def test_each_game_is_exported_once_however_often_export_is_killed(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(run, range(6))
    monkeypatch.setattr(samples, "SHARD_SAMPLES", 2 * max(decided(seed) for seed in range(6)))
    register, calls = samples.register, []

    def dying(of: RunDirectory, made: samples.MadeShard) -> samples.ShardInfo | None:
        calls.append(made.blob)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return register(of, made)

    monkeypatch.setattr(samples, "register", dying)
    with pytest.raises(KeyboardInterrupt):
        export(run, CONFIG)
    assert len(shards(run)) == 1
    export(run, CONFIG)
    assert calls[2] == calls[1], "the same games give the same bytes"
    assert export(run, CONFIG).shards == ()
    held = [read_shard(run.fabric.blobs.path(shard.blob)) for shard in shards(run, CONFIG)]
    assert sorted(game for shard in held for game in shard.games.tolist()) == list(range(1, 7))
    assert {info.blob for info in run.fabric.blobs.ls()} == {shard.blob for shard in shards(run)}
    counts = [shard.samples for shard in shards(run)]
    assert GameStore(run).counts()[0].samples == sum(counts)
    paths = [run.fabric.blobs.path(shard.blob) for shard in shards(run)]
    for least, parts in ((1, 1), (counts[-1] + 1, 2), (10**9, len(paths))):
        found = replay_window(run, CONFIG, WindowSettings(least=least, expand=0))
        assert [part.path for part in found.parts] == paths[-parts:]
        assert (found.samples, found.total_samples) == (sum(counts[-parts:]), sum(counts))
        assert found.games.tolist() == [game for shard in held[-parts:] for game in shard.games.tolist()]
    assert replay_window(run, "hex8_2p", WindowSettings()).parts == ()
    assert not check(run)


def test_kill_9_of_the_export_and_a_second_export(run: RunDirectory) -> None:
    fill(run, range(12))
    code = """
import sys
from ringrift.store import RunDirectory, samples
samples.SHARD_SAMPLES = 60
register = samples.register
def told(*given):
    made = register(*given)
    print(made.id, flush=True)
    return made
samples.register = told
samples.export(RunDirectory.open(sys.argv[1]), sys.argv[2])
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(run.path), CONFIG], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "1\n"
    writer.kill()
    writer.communicate()
    late = samples.read_game(StoredGame(12, "late", finished(11).to_bytes()))
    blob = run.fabric.blobs.put(samples.make_samples(CONFIG, [late], ExportSettings())[0].to_bytes(), ".npz")
    export(run, CONFIG)
    held = [read_shard(run.fabric.blobs.path(shard.blob)) for shard in shards(run, CONFIG)]
    assert len(held) > 1
    assert sorted(game for shard in held for game in shard.games.tolist()) == list(range(1, 13))
    assert samples.register(run, samples.MadeShard(CONFIG, blob, [12], late.count, 0)) is None, "others have its game"
    run.fabric.blobs.delete(blob)
    assert len(shards(run)) == len(held)
    assert not check(run)


def test_damaged_shards_are_named_and_made_again(run: RunDirectory) -> None:
    fill(run, range(2))
    (shard,) = export(run, CONFIG).shards
    path = run.fabric.blobs.path(shard.blob)
    good = path.read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    for bad in (b"", good[:-30], good[: len(good) // 2], bytes(changed), b"nonsense"):
        path.write_bytes(bad)
        with pytest.raises(CorruptBlob, match=path.name):
            read_shard(path)
        assert [problem.what for problem in check(run)] == ["shard 1 of square8_2p"]
    path.unlink()
    assert [problem.what for problem in check(run, repair=True)] == ["shard 1 of square8_2p"]
    assert not check(run)
    assert export(run, CONFIG).shards[0].blob == shard.blob
    assert path.read_bytes() == good


def test_shards_of_another_release(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(run, range(2))
    monkeypatch.setattr(samples, "FORMAT", 4)
    (newer,) = export(run, CONFIG).shards
    monkeypatch.undo()
    with pytest.raises(FormatTooNew, match="format 4"):
        read_shard(run.fabric.blobs.path(newer.blob))
    assert replay_window(run, CONFIG, WindowSettings()).parts == ()
    monkeypatch.setattr(samples, "FORMAT", 1)
    (first,) = export(run, CONFIG).shards
    monkeypatch.undo()
    with pytest.raises(EncodingMismatch, match="format 1, this release reads 3"):
        read_shard(run.fabric.blobs.path(first.blob))
    assert not [problem for problem in check(run) if problem.what.startswith("shard")]
    (older,) = export(run, CONFIG).shards
    monkeypatch.setattr(samples, "ENCODING_HASH", "f" * 16)
    with pytest.raises(EncodingMismatch, match="ringrift export"):
        read_shard(run.fabric.blobs.path(older.blob))
    assert replay_window(run, CONFIG, WindowSettings()).parts == ()
    (again,) = export(run, CONFIG).shards
    assert again.encoding_hash == "f" * 16 + "/3"
    assert [part.path.name for part in replay_window(run, CONFIG, WindowSettings()).parts] == [again.blob]


# -- check and the command line


def test_check_finds_a_changed_game(run: RunDirectory) -> None:
    fill(run, range(3))
    with run.database.transaction() as connection:
        connection.execute("DROP TRIGGER games_never_change")
        connection.execute("UPDATE games SET record = substr(record, 1, 40) WHERE id = 1")
        connection.execute("UPDATE games SET plies = plies + 1 WHERE id = 2")
    assert [problem.what.split(" (")[0] for problem in check(run)] == ["game 1", "game 2", f"counts of {CONFIG}"]
    assert len(check(run, repair=True)) == 3
    assert not check(run)
    assert GameStore(run).counts()[0].quarantined == 2


def test_a_game_that_differs_from_its_row_is_not_sound_for_its_next_judge_either(run: RunDirectory) -> None:
    fill(run, range(1))
    with run.database.transaction() as connection:
        connection.execute("DROP TRIGGER games_never_change")
        connection.execute("UPDATE games SET winner = 3 - winner")
    assert "differs from its record" in check(run, repair=True)[0].reason
    GameStore(run).restore([1])
    assert validate(run).quarantined == 1
    assert "differs from its record" in GameStore(run).quarantine()[0].reason


def test_check_finds_games_that_name_what_is_not_there_and_counts_that_differ(run: RunDirectory) -> None:
    fill(run, range(2))
    export(run, CONFIG)
    with closing(sqlite3.connect(run.path / "games.db")) as elsewhere, elsewhere:  # foreign keys are off there
        elsewhere.execute("DELETE FROM shards")
        elsewhere.execute("UPDATE game_counts SET games = 9")
    assert [problem.what for problem in check(run, repair=True)] == ["shard 1", f"counts of {CONFIG}"]
    assert not check(run)
    assert (GameStore(run).counts(CONFIG)[0].games, export(run, CONFIG).games) == (2, 2)
    with closing(sqlite3.connect(run.path / "games.db")) as elsewhere, elsewhere:
        elsewhere.execute("UPDATE games SET shard = NULL, retraction = 7 WHERE id = 1")
    assert "retraction 7" in [problem.what for problem in check(run)]


def test_check_finds_what_is_wrong_with_models(run: RunDirectory) -> None:
    run.fabric.registry.set(f"promoted/{CONFIG}", {"model": "m-000000000000"})
    blob = run.fabric.blobs.put(b"something")
    run.fabric.blobs.path(blob).write_bytes(b"else")
    assert [problem.what for problem in check(run)] == [f"promoted model of {CONFIG}", f"blob {blob}"]


def test_check_looks_into_checkpoints(run: RunDirectory) -> None:
    tensors = bytes(range(256)) * 16
    about = ModelMetadata(CONFIG, "tiny", ENCODING_HASH, tensors=hashlib.sha256(tensors).hexdigest())
    header = json.dumps({"__metadata__": {"ringrift": about.to_json()}}).encode()
    whole = len(header).to_bytes(8, "little") + header + tensors
    models, blobs = ModelStore(run), run.fabric.blobs
    good = models.register(CONFIG, blobs.put(whole, ".safetensors"), blobs.put(b"network", ".onnx"), {})
    models.promote(good, over=None)
    assert not check(run)
    bad = models.register(CONFIG, blobs.put(whole[:-1], ".safetensors"), None, {})
    assert [problem.what for problem in check(run)] == [f"model {bad} of {CONFIG}"]
    blobs.path(models.show(good).checkpoint).write_bytes(whole[:100])
    assert {problem.what for problem in check(run)} == {f"model {good} of {CONFIG}", f"model {bad} of {CONFIG}"}


def test_data_commands(run: RunDirectory) -> None:
    fill(run, range(2))
    export(run, CONFIG)
    command = CliRunner()
    told = command.invoke(app, ["data", "ls", str(run.path), "--json"])
    (row,) = json.loads(told.stdout)["rows"]
    assert (row["config"], row["games"], row["quarantined"], row["waiting"]) == (CONFIG, 2, 0, 0)
    assert row["plies"] == sum(len(finished(seed).moves) for seed in range(2))
    assert row["samples"] > 0
    assert CONFIG in command.invoke(app, ["data", "ls", str(run.path)]).stdout
    assert command.invoke(app, ["data", "check", str(run.path)]).exit_code == 0
    shutil.rmtree(run.path / "blobs")
    told = command.invoke(app, ["data", "check", str(run.path), "--json"])
    assert told.exit_code == 1
    assert "missing" in json.loads(told.stdout)["problems"][0]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_goes_through(run: RunDirectory, config: str) -> None:
    fill(run, range(2), config)
    made = export(run, config)
    assert made.samples == len(read_shard(run.fabric.blobs.path(made.shards[0].blob)))
    assert not check(run)


def test_game_that_crashes_the_validator_is_quarantined_and_the_others_are_judged(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = GameStore(run)
    store.add_many([(finished(i).to_bytes(), f"work/{i}") for i in range(9)], Provenance("elsewhere"))
    crash = """
import os, signal, sys
from ringrift.store import validate
judged = validate.problem
def problem(game):
    if game.work_id in ("work/3", "work/7"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return judged(game)
validate.problem = problem
validate.serve(*sys.argv[1:])
"""
    monkeypatch.setattr("ringrift.store.validate.SERVE", crash)
    seen: list[int] = []
    done = validate(run, seen.append)
    assert (done.valid, done.quarantined) == (7, 2)
    assert seen == sorted(seen)
    crashed = "the process that judged it crashed with SIGSEGV"
    assert [(work, why) for _, work, why in store.quarantined()] == [("work/3", crashed), ("work/7", crashed)]


def test_a_validator_that_cannot_begin_blames_no_game(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    GameStore(run).add(finished(1).to_bytes(), "work/1", Provenance("elsewhere"))
    monkeypatch.setattr("ringrift.store.validate.SERVE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    with pytest.raises(DataError, match="crashes with SIGILL before it looks at a game"):
        validate(run)
    assert (GameStore(run).quarantine(), GameStore(run).counts()[0].waiting) == ([], 1)


def test_validator_may_warn_as_much_as_it_likes(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    GameStore(run).add(finished(1).to_bytes(), "work/1", Provenance("elsewhere"))
    loud = "import sys\nsys.stderr.write('warning\\n' * 50_000 + 'the last line\\n')\n"
    serve = "from ringrift.store.validate import serve\nserve(*sys.argv[1:])"
    monkeypatch.setattr("ringrift.store.validate.SERVE", loud + "sys.exit(3)")
    with pytest.raises(DataError, match="status 3: the last line"):
        validate(run)
    monkeypatch.setattr("ringrift.store.validate.SERVE", loud + serve)
    assert validate(run).valid == 1
