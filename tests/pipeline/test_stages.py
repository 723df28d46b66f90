"""The stages by hand, in order, and what they refuse."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest

from ringrift.errors import CorruptBlob, DataError, RulesError
from ringrift.evaluation import GateSettings, Hurdle, MatchResult, MatchSettings, decide
from ringrift.kernel.kind import Advance, quiet
from ringrift.pipeline import evaluate, export, gate, ingest, models, selfplay, train
from ringrift.search import GumbelSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings
from ringrift.store import GameStore, ModelStore, RunDirectory
from ringrift.store.games import StoredGame
from ringrift.store.samples import ExportSettings, shards
from ringrift.store.window import WindowSettings
from ringrift.training.settings import TrainSettings

CONFIG = "square8_2p"
HERE = PlaySettings(processes=1)
PLAY = SelfplaySettings(engine="heuristic", play=HERE)
LEARN = TrainSettings(architecture="nano", batch_size=64, warmup_steps=4, threads=1)
COMPARE = MatchSettings(games=4, search=GumbelSettings(simulations=2, considered=2, gumbel_scale=0.0), play=HERE)


def test_from_self_play_to_promotion(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        player = models.choose_player(run, CONFIG, "heuristic")
        played = selfplay.play_games(run, CONFIG, "one", 6, PLAY, player)
        assert (played.games, played.new) == (6, 6)
        assert selfplay.play_games(run, CONFIG, "one", 8, PLAY, player).new == 2
        assert ingest.ingest_games(run).valid == 8
        exported = export.export_games(run, CONFIG, ExportSettings())
        assert exported.games == 8
        candidate = train.train_model(run, CONFIG, LEARN, steps=20, precision="float32")
        assert candidate.metrics["loss_after"] < candidate.metrics["loss_before"]  # type: ignore[operator]
        assert candidate.metrics["samples_total"] == exported.samples
        store = ModelStore(run)
        assert candidate.parents == (store.resolve(CONFIG, "initial").id,)
        assert models.newest_model(run, CONFIG, LEARN).id == candidate.id

        easy = GateSettings(gates={"random": 0.1}, gate_games=4, games=4)
        lost = gate.gate_model(run, CONFIG, candidate.id, easy, COMPARE)
        assert not lost.passes and list(lost.matches) == ["random", "initial"]
        assert store.promoted(CONFIG) is None
        kept = store.show(candidate.id).metrics
        assert kept["gate"] == {"passes": False, "reason": lost.reason}
        assert [one["name"] for one in kept["gauntlet"]] == ["random", "initial"]  # type: ignore[attr-defined]
        assert len(list((run.path / "matches").iterdir())) == 2  # for ratings


def won(run: RunDirectory, model: str, plan: Sequence[Hurdle]) -> dict[str, MatchResult | None]:
    """Every match of a gauntlet, won altogether."""
    return {
        one.name: MatchResult(
            config=CONFIG, a=model, b=one.opponent, wins=400, losses=0, draws=0, games=400, score=1.0,
            interval=(0.99, 1.0), elo=1200, elo_interval=(800, 1200), openings=200, duplicates=0, plies=50,
            simulations={}, seed=0, confidence=0.95, pentanomial=(0, 0, 0, 0, 200),
            openings_sha256=one.openings_sha256,
        )
        for one in plan
    }  # fmt: skip


def test_what_is_stated_holds_until_another_is_promoted(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        store, blobs = ModelStore(run), run.fabric.blobs
        one, two, three = (
            store.register(CONFIG, blobs.put(name, ".safetensors"), None, {}) for name in (b"1", b"2", b"3")
        )
        models = {name: store.show(name) for name in (one, two, three)}
        plan = evaluate.state_gauntlet(run, models[one], GateSettings(), COMPARE)
        assert [hurdle.name for hurdle in plan] == ["random", "heuristic", "initial"]
        changed = dataclasses.replace(COMPARE, opening_plies_max=20, play=PlaySettings(processes=2))
        kept = evaluate.state_gauntlet(run, store.show(one), GateSettings(gates={}), changed)
        assert kept == plan
        assert kept[0].settings(changed) == dataclasses.replace(plan[0].settings(COMPARE), play=changed.play)
        verdict = decide(plan, won(run, one, plan))
        gate.promote_candidate(run, CONFIG, one, verdict)
        (entry,) = store.history(CONFIG)
        assert entry.model == one and entry.previous is None
        evidence: Any = entry.evidence
        assert [hurdle["openings_sha256"] for hurdle in evidence["gauntlet"]] == [one.openings_sha256 for one in plan]
        assert evidence["matches"]["initial"]["games"] == 400
        with pytest.raises(DataError, match="is promoted for square8_2p: name a candidate"):
            evaluate.state_gauntlet(run, store.show(one), GateSettings(), COMPARE)

        before = evaluate.state_gauntlet(run, models[two], GateSettings(), COMPARE)
        assert [hurdle.opponent for hurdle in before] == ["random", "heuristic", one]
        late = decide(before, won(run, two, before))
        assert store.promote(three, over=one)
        with pytest.raises(DataError, match=f"{three} was promoted while {two} was measured with {one}"):
            gate.promote_candidate(run, CONFIG, two, late)
        after = evaluate.state_gauntlet(run, store.show(two), GateSettings(), COMPARE)
        assert [(hurdle.name, hurdle.opponent) for hurdle in after[2:]] == [("best", three), ("former-1", one)]
        assert decide(after, late.matches).next == after[2]  # what was played against another does not count
        assert store.champions(CONFIG) == [three, one]
        store.rollback(CONFIG)
        assert store.champions(CONFIG) == [one]


def test_a_match_that_was_killed_keeps_its_games(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def show(_title: str, _total: int) -> AbstractContextManager[Advance]:
        def advance(done: int, remark: str) -> None:
            if done == 3:
                raise Killed

        return nullcontext(advance)

    with RunDirectory.create(tmp_path / "run") as run:
        with pytest.raises(Killed):
            evaluate.play_match(run, CONFIG, "heuristic", "random", COMPARE, show=show)
        (kept,) = (run.path / "matches").iterdir()
        assert len(kept.read_text().splitlines()) == 1 + 3
        result = evaluate.play_match(run, CONFIG, "heuristic", "random", COMPARE)
    assert result == evaluate.play_match(None, CONFIG, "heuristic", "random", COMPARE)


def test_batches_by_hand_go_on_until_they_are_finished(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        player = models.choose_player(run, CONFIG, "random")
        play = dataclasses.replace(PLAY, engine="random")
        name = selfplay.batch_name(run, CONFIG, 3, player)
        assert selfplay.play_games(run, CONFIG, name, 2, play, player).new == 2
        assert selfplay.batch_name(run, CONFIG, 3, player) == name
        assert selfplay.play_games(run, CONFIG, name, 3, play, player).new == 1
        assert selfplay.batch_name(run, CONFIG, 3, player) != name
        assert GameStore(run).work_ids(f"{CONFIG}/{name}/") == {f"{CONFIG}/{name}/{i:06d}" for i in range(3)}


CLAIMING = """
import sys
from ringrift.pipeline import evaluate, export, gate, ingest, models, selfplay, train
from ringrift.store import RunDirectory
with RunDirectory.open(sys.argv[1]) as run:
    with selfplay.claimed_batch(run, "square8_2p", 3, models.choose_player(run, "square8_2p", "random")) as name:
        print(name, flush=True)
        sys.stdin.read()
"""


def test_a_batch_by_hand_is_one_processs_until_it_ends(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run, ExitStack() as ended:
        player = models.choose_player(run, CONFIG, "random")
        run.fabric.registry.set(
            f"selfplay/{CONFIG}", {"number": 7, "games": 3, "player": "random"}
        )  # as earlier releases

        def claiming() -> tuple[subprocess.Popen[str], str]:
            process = subprocess.Popen([sys.executable, "-c", CLAIMING, str(run.path)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)  # fmt: skip
            ended.callback(process.communicate)
            ended.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline().strip()

        first, mine = claiming()
        _, other = claiming()
        assert (mine, other) == ("by-hand-000007", "by-hand-000008")
        first.kill()
        first.wait()
        with selfplay.claimed_batch(run, CONFIG, 3, player) as name:
            assert name == mine
            play = dataclasses.replace(PLAY, engine="random")
            assert selfplay.play_games(run, CONFIG, name, 3, play, player).new == 3
        with selfplay.claimed_batch(run, CONFIG, 3, player) as name:
            assert name == "by-hand-000009"
        with selfplay.claimed_batch(run, CONFIG, 2, player) as name:  # asked for something else
            assert name == "by-hand-000010"


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        with pytest.raises(DataError, match="no samples of square8_2p"):
            train.train_model(run, CONFIG, LEARN)
        with pytest.raises(DataError, match="no model of square8_2p is promoted"):
            models.choose_player(run, CONFIG, "best")
        with pytest.raises(RulesError, match="unknown player 'alphago'"):
            models.choose_player(run, CONFIG, "alphago")
        with pytest.raises(DataError, match=r"means 0 models.*players without a network: random"):
            models.choose_player(run, CONFIG, "m-0123456789ab")
        with pytest.raises(RulesError, match="unknown config"):
            models.choose_player(run, "chess", "random")
        assert export.export_games(run, CONFIG, ExportSettings()).samples == 0
        selfplay.play_games(run, CONFIG, "one", 1, PLAY, models.choose_player(run, CONFIG, "random"))
        ingest.ingest_games(run)
        export.export_games(run, CONFIG, ExportSettings())
        with pytest.raises(DataError, match=r"none is left: 1 games with .* left out: their source has the weight 0"):
            train.train_model(run, CONFIG, LEARN, window=WindowSettings(sources=("*=0",)))


def learn(run: RunDirectory) -> None:
    train.train_model(run, CONFIG, LEARN, steps=2, precision="float32")


def match(run: RunDirectory) -> None:
    evaluate.play_match(run, CONFIG, "initial", "random", COMPARE)


def test_models_of_one_training_are_registered_together_or_not_at_all(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        store, blob = ModelStore(run), run.fabric.blobs.put(b"weights", ".safetensors")
        made = [models.MadeModel(CONFIG, one, blob, {}, (), {}, "candidate", ()) for one in (blob, "none")]
        with pytest.raises(DataError):
            models.register(run, made)
        assert store.ls() == []
        assert models.register(run, made[:1]) == [store.ls()[0].id]


def test_damaged_shards_and_checkpoints_are_refused(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path / "run") as run:
        player = models.choose_player(run, CONFIG, "random")
        selfplay.play_games(run, CONFIG, "one", 3, dataclasses.replace(PLAY, engine="random"), player)
        ingest.ingest_games(run)
        export.export_games(run, CONFIG, ExportSettings())
        initial = models.initial_model(run, CONFIG, LEARN)
        for blob in (shards(run, CONFIG)[0].blob, initial.checkpoint, initial.onnx):
            assert blob is not None
            path = run.fabric.blobs.path(blob)
            good = path.read_bytes()
            use, half = match if blob == initial.onnx else learn, len(good) // 2
            flipped = good[:half] + bytes(byte ^ 16 for byte in good[half : half + 64]) + good[half + 64 :]
            for bad in good[:half], flipped:
                path.write_bytes(bad)
                with pytest.raises(CorruptBlob):
                    use(run)
            path.write_bytes(good)
        learn(run)


def test_making_samples_reads_each_game_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    totals: list[int] = []
    reads, read = [0], GameStore.iter_valid

    def show(_title: str, total: int) -> AbstractContextManager[Advance]:
        totals.append(total)
        return quiet("", total)

    def counted(self: GameStore, config: str, since_id: int = 0, *, unexported: bool = False) -> Iterator[StoredGame]:
        reads[0] += 1
        return read(self, config, since_id, unexported=unexported)

    monkeypatch.setattr(GameStore, "iter_valid", counted)
    with RunDirectory.create(tmp_path / "run") as run:
        selfplay.play_games(run, CONFIG, "one", 3, PLAY, models.choose_player(run, CONFIG, "random"))
        ingest.ingest_games(run)
        assert export.export_games(run, CONFIG, ExportSettings(), show=show).games == 3
    assert (totals, reads) == ([3], [1])
