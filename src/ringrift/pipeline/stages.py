"""The stages. Each can be called by hand, in this order, and does the missing part of its work: called again after a
crash, it goes on.

selfplay → ingest → export → train → match → gate
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ringrift.errors import DataError, JobError, unknown
from ringrift.evaluation import (
    GateSettings,
    Hurdle,
    MatchResult,
    MatchSettings,
    Plan,
    Tally,
    Verdict,
    decide,
    gauntlet,
    match,
    planned_games,
)
from ringrift.evaluators import Evaluator, make_evaluator
from ringrift.evaluators.canary import canary, check_canary
from ringrift.fabric import Lease, kept_alive
from ringrift.pipeline.cards import write_card
from ringrift.players import MIXTURE, PLAYERS, PlayerChoice, choose
from ringrift.search import GumbelSettings, MinimaxSettings, TreeSettings
from ringrift.selfplay import PlaySettings, SelfplaySettings, derive_seed, drawn_seats, play, regretted, selfplay_tasks
from ringrift.store import GameStore, ModelInfo, ModelStore, RunDirectory
from ringrift.store.audit import Audited, AuditSettings, audit, mark_of, reach
from ringrift.store.provenance import Provenance
from ringrift.store.samples import Exported, ExportSettings, export, read_shard, shards
from ringrift.store.validate import Validated, validate
from ringrift.store.window import ReplayWindow, WindowSettings, replay_window
from ringrift.training.settings import TrainSettings

if TYPE_CHECKING:  # the stages that need no torch do not load it
    from ringrift.nets import Positions

#: Files of weights that can be imported; the last two only if they hold a network of ours.
CHECKPOINTS = (".safetensors", ".pth", ".pt")
CLAIM_TTL = 60.0  #: seconds for which a process that hangs keeps its batch of self-play
CHECKED_POSITIONS = 256  #: on which an exported network is calibrated and compared with its checkpoint

#: Tells that so many are done by now, with a remark.
Advance = Callable[[int, str], None]


#: Where progress is shown: makes a bar with a title that goes from 0 to a total.
Show = Callable[[str, int], AbstractContextManager[Advance]]


def quiet(_title: str, _total: int) -> AbstractContextManager[Advance]:
    """Shows nothing."""
    return nullcontext(lambda done, remark: None)


@dataclass(frozen=True)
class Played:
    """What one batch of self-play is."""

    name: str
    games: int
    """Games of the batch that are stored."""
    new: int
    """How many of them were played now."""
    plies: int
    """Plies of the new ones."""
    player: str
    """Who played the new ones."""


# -- models ------------------------------------------------------------------------------------------------------------


def initial_model(run: RunDirectory, config: str, training: TrainSettings, seed: int = 0) -> ModelInfo:
    """The untrained weights that a run starts from, made where there are none yet."""
    store = ModelStore(run)
    if found := store.ls(config, "initial"):
        return found[0]
    return untrained_model(run, config, training.architecture, seed, role="initial")


def untrained_model(
    run: RunDirectory, config: str, architecture: str, seed: int = 0, role: str = "untrained"
) -> ModelInfo:
    """New weights of a row of `nets.ARCHITECTURES`."""
    from ringrift.nets import initial_checkpoint, random_positions

    checkpoint = initial_checkpoint(architecture, config, derive_seed(seed, "weights", config) & 0xFFFFFFFF)
    made = _registration(run, config, checkpoint, random_positions(config, 64), "float32", role=role)
    return ModelStore(run).show(_register(run, [made])[0])


def newest_model(run: RunDirectory, config: str, training: TrainSettings, seed: int = 0) -> ModelInfo:
    """The model trained last, promoted or not: self-play and training go on from it, see `sound_model`."""
    newest = ModelStore(run).newest(config, "candidate")[1]
    return sound_model(run, newest) if newest else initial_model(run, config, training, seed)


def sound_model(run: RunDirectory, newest: ModelInfo) -> ModelInfo:
    """`newest`, or the promoted model where `newest` or what it descends from was rolled back."""
    store, one = ModelStore(run), newest
    promoted = store.promoted(newest.config)
    while promoted and one.id != promoted and one.config == newest.config:
        if "rolled_back" in one.metrics:
            return store.show(promoted)
        if not one.parents:
            break
        one = store.show(one.parents[0])
    return newest


def starting_model(run: RunDirectory, config: str, name: str, seed: int = 0) -> ModelInfo:
    """The model meant by `name`, whose weights a training of `config` is to start from: one of this or of any other
    config, a file that is imported for it, or new weights of the architecture of that name. Raises: DataError."""
    from ringrift.nets import ARCHITECTURES

    store, path = ModelStore(run), Path(name)
    if name in ARCHITECTURES:
        return untrained_model(run, config, name, seed)
    if path.suffix in CHECKPOINTS:
        return store.show(import_model(run, config, path))
    others = [model for model in store.ls() if model.config != config and name and model.id.startswith(name)]
    if len(others) == 1:
        return others[0]
    try:
        return store.resolve(config, name)
    except DataError as error:
        raise DataError(f"{error}; {unknown('architecture', name, ARCHITECTURES)}") from error


def import_model(run: RunDirectory, config: str, path: Path) -> str:
    """Registers the network in a checkpoint file, as a model of `config`; see `nets.earlier`. The id."""
    from ringrift.nets import random_positions
    from ringrift.nets.earlier import foreign_checkpoint

    checkpoint = foreign_checkpoint(path, config)
    made = _registration(run, config, checkpoint, random_positions(config), "int8", role="imported")
    return _register(run, [made])[0]


def samples_left(model: ModelInfo, replay: ReplayWindow, games: int) -> int:
    """How many of the samples that the run had when the model was trained are still there, by the share of their games
    that are; `games` are in shards now."""
    seen = int(str(model.metrics.get("samples_total", 0)))
    if not model.window:
        return seen
    left = games - sum(int((part.games > model.window[-1][1]).sum()) for part in replay.parts)
    return round(seen * min(1.0, left / max(1, games_seen(model))))


def games_seen(model: ModelInfo | None) -> int:
    """How many games the run had in shards when the model was trained; 0 without one."""
    return int(str(model.metrics.get("games_total", 0))) if model else 0


def rejected_in_a_row(run: RunDirectory, config: str) -> int:
    """How many of the newest candidates, one after the other, the gate has rejected."""
    verdicts = [model.metrics.get("gate") for model in reversed(ModelStore(run).ls(config, "candidate"))]
    judged = [bool(verdict["passes"]) for verdict in verdicts if isinstance(verdict, dict)]
    return [*judged, True].index(True)


def check_model(run: RunDirectory, model: str) -> None:
    """Raises `CorruptBlob` where the exported network is not what was stored, `DataError` where it does not compute
    here what it did when it was made."""
    info = ModelStore(run).show(model)
    if info.onnx and not info.pruned:
        run.fabric.blobs.check(info.onnx)
        if kept := info.metrics.get("canary"):
            assert isinstance(kept, dict)
            check_canary(make_evaluator(info.config, run.fabric.blobs.path(info.onnx)), kept, model)


def choose_player(
    run: RunDirectory | None, config: str, name: str, search: GumbelSettings | None = None
) -> PlayerChoice:
    """The player of that name, see `players.table`; with a run also `best`, `initial` and its model ids."""

    def models(name: str) -> tuple[str, Path]:
        assert run is not None
        try:
            info = ModelStore(run).resolve(config, name)
        except DataError as error:
            raise DataError(f"{error} (players without a network: {', '.join(PLAYERS)})") from error
        if info.onnx is None or info.pruned:
            raise DataError(f"{info.id} has no exported network: it was pruned, or never exported; name another model")
        run.fabric.blobs.check(info.onnx)
        return info.id, run.fabric.blobs.path(info.onnx)

    return choose(name, config, search, models if run else None)


def engine_name(engine: str, model: str) -> str:
    """The player of self-play by that engine, over that model where it has a network."""
    if engine == "mixed":
        return "mixed:" + ",".join(engine_name(part, model) for part in MIXTURE)
    if engine in PLAYERS and PLAYERS[engine].evaluator:
        return model if engine == "gumbel" else f"{engine}:{model}"
    return engine


def window_positions(shards: Sequence[Path], count: int = CHECKED_POSITIONS) -> Positions:
    """Positions from the newest shard."""
    from ringrift.nets import Positions

    samples = read_shard(shards[-1])
    rows = np.unique(np.linspace(0, len(samples) - 1, count, dtype=np.int64))
    offsets, addresses, _ = samples.policy(rows)
    return Positions(samples.planes(rows), samples.globals[rows], offsets.astype(np.int32), addresses)


def _registration(
    run: RunDirectory,
    config: str,
    checkpoint: bytes,
    positions: Positions,
    precision: str,
    *,
    role: str,
    settings: dict[str, object] | None = None,
    parents: tuple[str, ...] = (),
    metrics: Mapping[str, object] | None = None,
    window: Iterable[int] = (),
) -> Callable[[], str]:
    """Exports a checkpoint and stores both; what registers them, with what the network answers to known positions."""
    from ringrift.nets import export_onnx

    onnx, report = export_onnx(checkpoint, positions, precision=precision)
    blobs = run.fabric.blobs
    stored = blobs.put(checkpoint, ".safetensors"), blobs.put(onnx, ".onnx")
    known = canary(make_evaluator(config, blobs.path(stored[1])), config)
    metrics = {**(metrics or {}), "export": report.to_dict(), "canary": known}
    return lambda: ModelStore(run).register(config, *stored, settings or {}, parents, metrics, role, window)


def _register(run: RunDirectory, made: Sequence[Callable[[], str]]) -> list[str]:
    """The models of these registrations, all of them or none."""
    with run.database.transaction():
        models = [register() for register in made]
    for model in models:
        write_card(run, model)
    return models


# -- the stages --------------------------------------------------------------------------------------------------------


def selfplay_stage(
    run: RunDirectory,
    config: str,
    name: str,
    games: int,
    settings: SelfplaySettings,
    player: PlayerChoice,
    *,
    seed: int = 0,
    elo: float = 0.0,
    made: Provenance | None = None,
    show: Show = quiet,
) -> Played:
    """Plays what is missing of the `games` games of the batch `name`; each is stored in the moment it ends, with the
    provenance `made`: without one, they are this process's, under these settings. `elo` is the player's."""
    store, name = GameStore(run), f"{config}/{name}"
    trained = len(ModelStore(run).ls(config, "candidate"))
    made = replace(made or Provenance.here(settings=settings), generation=trained)
    budget = settings.simulations(trained)
    if isinstance(player.search, TreeSettings):
        player = replace(player, search=replace(player.search, simulations=budget))
    elif isinstance(player.search, MinimaxSettings):
        player = replace(player, search=replace(player.search, nodes=settings.nodes))
    done = store.work_ids(f"{name}/")
    restarts: list[tuple[int, ...]] = []
    if settings.restart_share:
        recent = store.iter_valid(config, store.flow(config).newest - settings.restart_games)
        restarts = list(filter(None, (regretted(game.read()) for game in recent)))
    tasks = list(selfplay_tasks(config, name, games, settings, seed, done=done, restarts=restarts))
    players, tasks = drawn_seats(player, tasks)
    temperatures = partial(settings.temperatures, min(1.0, trained / settings.progressive_models), elo)
    if settings.temperature.kind == "mixed":
        tasks = [replace(task, temperatures=tuple(temperatures(seed=task.seed))) for task in tasks]
    new = plies = 0
    with show(f"self-play of {player.name}", len(done) + len(tasks)) as advance:
        advance(len(done), "")
        finished = play(
            players,
            tasks,
            settings.play,
            temperatures=temperatures(),
            adaptive=settings.adaptive,
            keep_search=True,
            memory=settings.memory,
            economy=settings.economy,
        )
        for game in finished:
            store.add(game.record, game.work_id, made)
            new, plies = new + 1, plies + game.plies
            advance(len(done) + new, f"{plies / new:.0f} plies a game")
    return Played(name, len(done) + new, new, plies, player.name)


def last_batch(run: RunDirectory, config: str, kind: str) -> int:
    """The highest number of a batch of that kind, `batch` or `by-hand`, of which games are stored."""
    found = GameStore(run).last_work_id(f"{config}/{kind}-")
    return int(found.removeprefix(f"{config}/{kind}-").partition("/")[0]) if found else 0


def batch_name(
    run: RunDirectory, config: str, games: int, player: PlayerChoice, taken: Container[str] = frozenset()
) -> str:
    """The name for a batch of self-play by hand: the first that asked for the same, is unfinished and not `taken`; else
    a new one."""
    registry, prefix = run.fabric.registry, f"selfplay/{config}/"
    wanted: dict[str, object] = {"games": games, "player": player.name}
    if (kept := registry.get(prefix[:-1])) is not None:  # of an earlier release: one batch for each config
        value = dict(kept.value)
        registry.compare_and_set(f"{prefix}by-hand-{value.pop('number'):06d}", value, 0)
        registry.delete(kept.key)
    while True:
        known = [last_batch(run, config, "by-hand")]
        for entry in registry.ls(prefix):
            name = entry.key.removeprefix(prefix)
            known.append(int(name.removeprefix("by-hand-")))
            if len(GameStore(run).work_ids(f"{config}/{name}/")) >= int(str(entry.value["games"])):
                registry.delete(entry.key)
            elif entry.value == wanted and name not in taken:
                return name
        name = f"by-hand-{max(known) + 1:06d}"
        if registry.compare_and_set(prefix + name, wanted, 0) is not None:
            return name


@contextmanager
def claimed_batch(run: RunDirectory, config: str, games: int, player: PlayerChoice) -> Iterator[str]:
    """The name of a batch as `batch_name` chooses it, which no other process plays inside the block.

    A process that is killed leaves its batch to the next one.
    """
    taken = set[str]()
    while True:
        name = batch_name(run, config, games, player, taken)
        taken.add(name)
        try:
            lease = run.fabric.leases.acquire(f"selfplay/{config}/{name}", CLAIM_TTL)
        except JobError:  # another process plays it
            continue
        with kept_alive(lease):
            if len(GameStore(run).work_ids(f"{config}/{name}/")) < games:  # else it was finished since
                yield name
                return


def ingest_stage(run: RunDirectory, *, show: Show = quiet) -> Validated:
    """Replays every stored game that nobody has replayed yet, in another process than the one that played it."""
    waiting = sum(row.waiting for row in GameStore(run).counts())
    with show("replaying the games", waiting) as advance:
        return validate(run, lambda done: advance(done, ""))


def audit_stage(run: RunDirectory, config: str, settings: AuditSettings, now: float, *, show: Show = quiet) -> Audited:
    """Searches a share of the new games again, and replays a share of all."""

    @cache
    def evaluator(model: str) -> Evaluator:
        return make_evaluator(config, choose_player(run, config, model).network)

    start, newest = mark_of(run, config)[0], reach(run, config)
    with show("looking at games again", max(0, newest - start)) as advance:
        return audit(run, config, settings, evaluator, now, lambda game: advance(game - start, ""))


def export_stage(run: RunDirectory, config: str, settings: ExportSettings, *, show: Show = quiet) -> Exported:
    """Turns valid games into sample shards."""
    with show("making samples", GameStore(run).flow(config).valid) as advance:
        return export(run, config, settings, lambda done: advance(done, ""))


def train_stage(
    run: RunDirectory,
    config: str,
    settings: TrainSettings,
    *,
    window: WindowSettings = WindowSettings(),
    beside: Sequence[str] = (),
    steps: int = 0,
    epochs: float = 0.0,
    parent: ModelInfo | None = None,
    up_to: int | None = None,
    precision: str = "int8",
    seed: int = 0,
    show: Show = quiet,
) -> ModelInfo:
    """The candidate trained from `parent` (default: the newest model) on the replay window.

    `steps`, or else `epochs` passes over the window, or else as many steps as the samples are worth that the parent has
    not seen. A killed training goes on from its last saved state if it has the same shards: `up_to` leaves out those
    that came later. `beside`: configs that the same network learns in the same training, each of which gets a candidate
    too. The processes of a `torchrun` train together.
    """
    from ringrift.training import TrainProgress, train
    from ringrift.training.distributed import once

    start = parent or ModelStore(run).show(once(lambda: newest_model(run, config, settings, seed).id))
    configs = (config, *beside)
    # The other processes of a torchrun, and what is said of the model in the end, have this state of the run too.
    replays = once(lambda: {name: replay_window(run, name, window, up_to) for name in configs})
    games = once(lambda: {name: sum(shard.games for shard in shards(run, name, up_to)) for name in configs})
    if empty := [name for name in configs if not replays[name].total_samples]:
        raise DataError(f"{run.path} has no samples of {', '.join(empty)}: play games and export them first")
    for name, replay in replays.items():
        if not replay.samples:
            raise DataError(f"of the {replay.total_samples} samples of {name} none is left: {'; '.join(replay.notes)}")
    held = sum(replay.samples for replay in replays.values())
    settings = settings.sized(held)
    untrained = start.role in ("initial", "untrained")

    def fresh(name: str) -> int:
        before = start if name == config else ModelStore(run).newest(name, "candidate")[1]
        total = replays[name].total_samples
        seen = samples_left(before, replays[name], games[name]) if before and before.config == name else 0
        return total - seen if total > seen else round(replays[name].samples / settings.passes)

    if not steps:
        steps = round(epochs * held / settings.batch_size) or settings.steps(sum(map(fresh, configs)), untrained)
    with show("training", steps) as advance:

        def tell(now: TrainProgress) -> None:
            outside = "" if now.held_out is None else f", held out {now.held_out:.3f}"
            advance(now.step, f"loss {now.loss:.3f}, policy {now.policy_loss:.3f}, value {now.value_loss:.3f}{outside}")

        result = train(
            replays,
            settings,
            steps=steps,
            seed=derive_seed(seed, "training", config, start.id) & 0xFFFFFFFF,
            parent=run.fabric.blobs.path(start.checkpoint),
            rejected=rejected_in_a_row(run, config),
            state_path=run.path / "training" / f"{'+'.join(configs)}.state",
            track=run.path,
            progress=tell,
        )

    def registration(name: str) -> Callable[[], str]:
        replay = replays[name]
        counts = {"samples_total": replay.total_samples, "games_total": games[name], "training": result.tracked}
        counts |= {"state_set_aside": result.set_aside} if result.set_aside else {}
        return _registration(
            run, name, result.checkpoints[name], window_positions([part.path for part in replay.parts]), precision,
            role="candidate", settings=asdict(settings), parents=(start.id,),
            metrics={**result.metrics(), **counts, **replay.metrics()}, window=replay.games.tolist(),
        )  # fmt: skip

    return ModelStore(run).show(once(lambda: _register(run, [registration(name) for name in configs]))[0])


def match_stage(
    run: RunDirectory | None,
    config: str,
    a: str,
    b: str,
    settings: MatchSettings,
    *,
    seed: int = 0,
    save: Path | None = None,
    planned: Callable[[Plan], None] = lambda plan: None,
    show: Show = quiet,
) -> MatchResult:
    """A against B, both by name; see `match`. Without `save`, a run keeps it in `matches/`: a match of the same players
    and settings that was killed goes on, and one that was finished is not played again."""
    first, second = (choose_player(run, config, name, settings.search) for name in (a, b))
    if run and save is None:
        key = derive_seed(seed, config, first.name, second.name, repr(replace(settings, play=PlaySettings())))
        save = run.path / "matches" / f"{config}-{key:016x}.jsonl"
    total = planned_games(config, settings)
    with show(f"{first.name} against {second.name}", total) as advance:

        def progress(played: int, tally: Tally) -> None:
            advance(min(played, total), tally.remark())

        return match(first, second, settings, seed=seed, save=save, planned=planned, progress=progress)


def state_gauntlet(
    run: RunDirectory, model: ModelInfo, settings: GateSettings, match: MatchSettings, seed: int = 0
) -> tuple[Hurdle, ...]:
    """The matches of a candidate, kept with it before the first of them; anew where another model is promoted by now.

    Raises `DataError` where it is promoted itself.
    """
    store = ModelStore(run)
    if (kept := stated_gauntlet(run, model)) is not None:
        return kept
    champions = store.champions(model.config)
    if model.id in champions[:1]:
        raise DataError(f"{model.id} is promoted for {model.config}: name a candidate, or see `ringrift models ls`")
    promotions = sum(entry.action == "promote" for entry in store.history(model.config))
    plan = gauntlet(
        model.config, settings, match, champions=champions, promotions=promotions, seed=derive_seed(seed, model.id)
    )
    store.annotate(model.id, gauntlet=[asdict(hurdle) for hurdle in plan])
    return plan


def stated_gauntlet(run: RunDirectory, model: ModelInfo) -> tuple[Hurdle, ...] | None:
    """What `state_gauntlet` kept with a candidate, if it was stated against what is promoted now."""
    plan = tuple(stated_hurdles(model).values())
    over = decide(plan, {}).over
    return plan if plan and over == ModelStore(run).promoted(model.config) else None


def stated_hurdles(model: ModelInfo) -> dict[str, Hurdle]:
    """The gauntlet of a candidate by name, as it was stated last; empty where none was."""
    kept = model.metrics.get("gauntlet", [])
    assert isinstance(kept, list)
    return {one["name"]: Hurdle.from_dict(one) for one in kept}


def note_match(
    run: RunDirectory, model: str, name: str, result: MatchResult, at: float, claim: float | None = None
) -> None:
    """Keeps a match with the model that was A in it, and what share of it was claimed."""
    ModelStore(run).annotate(model, **{name: {**result.to_dict(), "at": at, "claim": claim}})
    write_card(run, model)


def noted_matches(model: ModelInfo, prefix: str) -> dict[str, MatchResult]:
    """The matches kept with a model under names that begin so, by the rest of the name."""
    return {
        name.removeprefix(prefix): MatchResult.from_dict(
            {key: value for key, value in kept.items() if key not in ("at", "opponent", "claim")}
        )
        for name, kept in model.metrics.items()
        if name.startswith(prefix) and isinstance(kept, dict)
    }


def gate_stage(
    run: RunDirectory,
    config: str,
    candidate: str,
    settings: GateSettings,
    match: MatchSettings,
    *,
    seed: int = 0,
    promote: bool = True,
    lease: Lease | None = None,
    show: Show = quiet,
) -> Verdict:
    """Plays the candidate's gauntlet until it has a verdict, and promotes it if it passes.

    Called again after a promotion, it says what it rested on, and completes what a kill has left out.
    """
    store, model = ModelStore(run), ModelStore(run).show(candidate)
    if store.promoted(config) == candidate:
        reason = str(store.history(config)[-1].evidence.get("reason", "by hand"))
        note_verdict(run, candidate, True, reason)
        return Verdict(True, reason, tuple(stated_hurdles(model).values()), {**noted_matches(model, "match/")})
    plan, results = state_gauntlet(run, model, settings, match, seed), dict[str, MatchResult | None]()
    while hurdle := decide(plan, results).next:
        result = match_stage(
            run, config, candidate, hurdle.opponent, hurdle.settings(match), seed=hurdle.seed, show=show
        )
        note_match(run, candidate, f"match/{hurdle.name}", result, time.time())
        results[hurdle.name] = result
    verdict = decide(plan, results, settings.voids)
    if verdict.passes and promote:
        promote_candidate(run, config, candidate, verdict, lease=lease)
    note_verdict(run, candidate, verdict.passes, verdict.reason)
    return verdict


def promote_candidate(
    run: RunDirectory, config: str, candidate: str, verdict: Verdict, lease: Lease | None = None
) -> None:
    """Promotes a candidate over the model that it was measured with. Raises `DataError` where that is not promoted."""
    store = ModelStore(run)
    if not store.promote(candidate, over=verdict.over, evidence=verdict.to_dict(), lease=lease):
        raise DataError(
            f"{store.promoted(config)} was promoted while {candidate} was measured with {verdict.over}: gate it again"
        )
    if verdict.over:
        write_card(run, verdict.over)


def note_verdict(run: RunDirectory, candidate: str, passes: bool, reason: str) -> None:
    """Keeps with the candidate that it was judged."""
    ModelStore(run).annotate(candidate, gate={"passes": passes, "reason": reason})
    write_card(run, candidate)
