"""The audit finds games that are not what their engine plays, whoever made them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from stored import CONFIG, finished
from trees import HashEvaluator

from ringrift import __version__ as VERSION
from ringrift.analysis.replay import disputed
from ringrift.errors import DataError
from ringrift.evaluators import Evaluator
from ringrift.players import TreePlayer
from ringrift.rules import Game, Record, SearchStats
from ringrift.search import GumbelSettings, SearchEconomy, TreeMemory
from ringrift.selfplay import Task
from ringrift.selfplay.play import Rules, _play_in_core
from ringrift.store import GameStore, RunDirectory
from ringrift.store.audit import Audited, AuditSettings, audit, is_chosen, mark_of, reach
from ringrift.store.provenance import Provenance
from ringrift.store.validate import validate

MODEL = "m-0123456789ab"
CARRIED = {"memory": TreeMemory(reuse=True), "economy": SearchEconomy(full_share=0.3, cheap_simulations=3)}
ALL = AuditSettings(share=1.0, recheck=1.0)
EVALUATOR = HashEvaluator(CONFIG)


def played(*seeds: int, carried: bool = True) -> list[Record]:
    player = TreePlayer(HashEvaluator(CONFIG), GumbelSettings(simulations=6, considered=3))
    rules = Rules(CONFIG, None, (1.0, 1.0), True, **(CARRIED if carried else {}))  # type: ignore[arg-type]
    tasks = [Task(f"w/{seed}", seed, (0, 0)) for seed in seeds]
    return [Record.from_bytes(game.record) for game in _play_in_core(rules, player, [MODEL], tasks, 8)]


def wrong_value(record: Record) -> Record:
    """One value of the search in the middle is not what was found."""
    assert record.search is not None
    values = record.search.root_value.copy()
    values[len(values) // 2] = values[len(values) // 2][::-1] + np.float16(0.2)
    return dataclasses.replace(record, search=dataclasses.replace(record.search, root_value=values))


def forged(record: Record) -> Record:
    """A legal game that the engine would not play, with made-up searches; everything else as in a true record."""
    game, rng = Game(CONFIG), np.random.default_rng(record.seed)
    plies, shares = [], []
    while not game.is_over:
        playable = game.playable_packed()
        if len(playable) > 1:
            plies.append(game.ply)
            shares.append(rng.dirichlet(np.ones(len(playable))))
        game.push_packed(int(playable[rng.integers(len(playable))]))
    search = SearchStats(
        np.array(plies), np.cumsum([0, *map(len, shares)]), np.concatenate(shares), np.full((len(plies), 2), 0.5),
        np.ones(len(plies), np.uint8),
    )  # fmt: skip
    made = Record.from_game(game, seed=record.seed, players=record.players, meta=record.meta, search=search)
    return dataclasses.replace(made, meta=record.meta)


@pytest.mark.parametrize("carried", [True, False])
def test_what_comes_out_again_is_not_disputed(carried: bool) -> None:
    (record,) = played(3, carried=carried)
    assert ("selfplay" in record.meta) == carried
    assert disputed(record, EVALUATOR) is None
    for change, said in ((wrong_value, r"policies differ by up to 0\.000"), (forged, "searched again")):
        assert said.replace("\\", "") in str(disputed(change(record), EVALUATOR))
        assert disputed(change(record), EVALUATOR, 0.05) is not None
    assert disputed(dataclasses.replace(record, seed=4), EVALUATOR) is not None


def test_the_rounding_of_another_machine_is_no_dispute() -> None:
    (record,) = played(3)
    assert record.search is not None
    near = dataclasses.replace(record.search, root_value=record.search.root_value + np.float16(0.01))
    rounded = dataclasses.replace(record, search=near)
    assert disputed(rounded, EVALUATOR) is not None
    assert disputed(rounded, EVALUATOR, 0.05) is None


def test_an_audit_goes_on_after_kill_and_names_the_worker(run: RunDirectory) -> None:
    records = played(*range(5))
    changes: list[Callable[[Record], Record]] = [lambda r: r, wrong_value, lambda r: r, forged, lambda r: r]
    store = GameStore(run)
    for number, (record, change) in enumerate(zip(records, changes, strict=True)):
        made = dataclasses.replace(Provenance.here(), worker="liar" if change in (wrong_value, forged) else "honest")
        store.add(change(record).to_bytes(), f"w{number}", made)
    assert validate(run).valid == 5, "all of them are legal games"
    seen: list[int] = []

    def dying(game: int) -> None:
        seen.append(game)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(run, CONFIG, ALL, lambda _: EVALUATOR, 7.0, dying)
    assert mark_of(run, CONFIG) == (3, 7.0)
    assert [game.id for game in store.quarantine()] == [2]
    done = audit(run, CONFIG, dataclasses.replace(ALL, recheck=0.0), lambda _: EVALUATOR, 8.0, seen.append)
    assert (sorted(set(seen)), done.searched) == ([1, 2, 3, 4, 5], 2)
    assert [(game.id, game.worker) for game in store.quarantine()] == [(2, "liar"), (4, "liar")]
    assert all("searched again it came out differently: ply" in game.reason for game in store.quarantine())
    assert [line.partition(":")[0] for line in done.quarantined] == ["game 4 of liar"]
    assert store.about(1)["audited"] == 7.0
    assert audit(run, CONFIG, dataclasses.replace(ALL, recheck=0.0), lambda _: EVALUATOR, 9.0) == Audited()


def test_models_without_files_are_skipped_and_broken_rows_found(run: RunDirectory) -> None:
    store = GameStore(run)
    for record in played(0, 1):
        store.add(record.to_bytes(), str(record.seed))
    validate(run)
    with run.database.transaction() as connection:
        connection.execute("DROP TRIGGER games_never_change")
        connection.execute("UPDATE games SET plies = plies + 1 WHERE id = 2")

    def gone(model: str) -> Evaluator:
        raise DataError(f"{model} was pruned")

    done = audit(run, CONFIG, ALL, gone, 1.0)
    assert (done.searched, done.skipped) == (0, 2)
    assert store.about(1)["audited"] is None, "it was not searched again"
    assert [game.id for game in store.quarantine()] == [2]
    assert "it was sound before: its row" in store.quarantine()[0].reason


def test_games_that_wait_for_a_judge_are_audited_later(run: RunDirectory) -> None:
    records, store = played(*range(3)), GameStore(run)
    for number in (0, 2):
        store.add(records[number].to_bytes(), f"w{number}", Provenance("somebody", model=MODEL, code_version=VERSION))
    store.judge([(2, None)])
    assert reach(run, CONFIG) == 0
    assert audit(run, CONFIG, ALL, lambda _: EVALUATOR, 1.0) == Audited()
    store.judge([(1, None)])
    assert reach(run, CONFIG) == 2
    assert audit(run, CONFIG, ALL, lambda _: EVALUATOR, 2.0).searched == 2


def test_games_of_another_release_are_not_searched_again(run: RunDirectory) -> None:
    (record,) = played(0)
    store = GameStore(run)
    store.add(forged(record).to_bytes(), "w", dataclasses.replace(Provenance.here("somebody"), code_version="0.0.9"))
    validate(run)
    done = audit(run, CONFIG, ALL, lambda _: EVALUATOR, 1.0)
    assert (done.searched, done.skipped, done.quarantined) == (0, 1, [])


def test_each_audit_replays_other_games(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    store, looked = GameStore(run), list[int]()
    store.add_many([(finished(seed).to_bytes(), f"w{seed}") for seed in range(12)])
    validate(run)
    monkeypatch.setattr("ringrift.store.audit.problem", lambda game: looked.append(game.id))
    for now in (1.0, 2.0):
        audit(run, CONFIG, AuditSettings(share=0.0, recheck=0.5), lambda _: EVALUATOR, now)
    assert len(looked) == 12
    assert looked[:6] != looked[6:]


def test_the_share_is_kept(run: RunDirectory) -> None:
    chosen = sum(is_chosen(run, game, 0.1) for game in range(5000))
    assert 400 < chosen < 600
    assert not is_chosen(run, 1, 0.0)
    assert is_chosen(run, 1, 1.0)
