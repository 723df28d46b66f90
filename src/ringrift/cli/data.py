"""`ringrift data`: which games there are, where, and whether they are sound; and games from elsewhere."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ringrift.cli.models import Directory
from ringrift.cli.options import AnyConfig, Json, picture, time_option
from ringrift.cli.printing import print_json, print_row, print_table, tell_unreadable
from ringrift.errors import DataError, RingRiftError, SettingsError

if TYPE_CHECKING:
    from ringrift.earlier.importing import FileReport
    from ringrift.kernel.kind import Advance

app = typer.Typer()
data_app = typer.Typer(help="Games and samples: of runs, and of the earlier service.", no_args_is_help=True)
app.add_typer(data_app, name="data")

SHOWN = 20  #: reasons printed for each file
Into = Annotated[Path | None, typer.Option("--run", metavar="DIR", help="The run that gets them; made if it is new.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and judge everything, store nothing.")]


@data_app.command("ls", epilog="ringrift data ls runs ssh://me@node7/data")
def data_ls(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE…", help="Runs, databases, or directories of them; ssh://user@host/path elsewhere."
        ),
    ],
    json: Json = False,
) -> None:
    """Every store under some places: games, plies, samples, quality and age of each config."""
    from ringrift.earlier.discover import Found, Unreadable, find

    found: list[Found | Unreadable] = []
    wrong: list[Unreadable] = []
    for place in places:
        try:
            found += find([place])
        except RingRiftError as error:  # of this place: the others are told all the same
            wrong.append(Unreadable(place, str(error)))
    rows = [dataclasses.asdict(one) for one in found if isinstance(one, Found)]
    unreadable = [dataclasses.asdict(one) for one in (*found, *wrong) if isinstance(one, Unreadable)]
    if json:
        print_json({"rows": rows} | ({"unreadable": unreadable} if unreadable else {}))
    elif found or not wrong:
        print_table(rows, "no games yet")
    tell_unreadable([one["reason"] for one in unreadable])


@data_app.command("check")
def data_check(
    directory: Directory,
    repair: Annotated[
        bool, typer.Option("--repair", help="Quarantine unsound games; forget unsound shards, to be exported again.")
    ] = False,
    json: Json = False,
) -> None:
    """Replay every game, and compare every shard and model with its hash; status 1 where anything is unsound."""
    from ringrift.pipeline.display import Bars
    from ringrift.store import GameStore, RunDirectory
    from ringrift.store.check import Problem, check, things

    looked: list[str] = []
    run, wrong = RunDirectory.open_parts(directory)
    with run:
        with Bars()(f"checking {directory}", things(run)) as advance:

            def progress(what: str) -> None:
                looked.append(what)
                advance(len(looked), what)

            problems = [Problem(*one) for one in wrong.items()] + check(run, repair=repair, progress=progress)
        try:
            quarantined = GameStore(run).quarantined()
        except DataError:  # told among the problems
            quarantined = []
    if json:
        rows = [dataclasses.asdict(problem) for problem in problems]
        apart = [{"game": game, "work_id": work_id, "reason": reason} for game, work_id, reason in quarantined]
        print_json({"checked": len(looked), "problems": rows, "quarantined": apart, "ok": not problems})
    else:
        for problem in problems:
            typer.echo(f"{problem.what}: {problem.reason}")
        for game, work_id, reason in quarantined:
            typer.echo(f"quarantined earlier: game {game} (work {work_id}): {reason}")
        typer.echo(f"{len(looked)} things checked, {len(problems)} unsound")
    if problems:
        raise typer.Exit(1)


@data_app.command("repair", epilog="ringrift data repair runs/a")
def data_repair(directory: Directory, json: Json = False) -> None:
    """Make fabric.db again where it is missing or damaged: sound rows of the old one, and the promotions that games.db
    knows of. The old file stays beside it; games are mended by `data check --repair`."""
    from ringrift.store.repair import repair

    done = repair(directory)
    if json:
        print_json({"done": done})
    else:
        typer.echo("\n".join(done or [f"nothing to repair: fabric.db of {directory} is whole"]))


@data_app.command("audit", epilog="ringrift data audit runs/a --share 0.1")
def data_audit(
    directory: Directory,
    config: AnyConfig = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the new games of networks, searched again.")] = 0.01,
    recheck: Annotated[float, typer.Option(min=0, max=1, help="Of all games, replayed again.")] = 0.01,
    json: Json = False,
) -> None:
    """Search a share of the games since the last audit again, from their seeds; status 1 where any is quarantined."""
    import secrets
    import time

    from ringrift.pipeline.audit import audit_games as audit_stage
    from ringrift.pipeline.by_hand import context
    from ringrift.pipeline.display import Bars
    from ringrift.pipeline.events import GamesAudited
    from ringrift.store import GameStore, RunDirectory
    from ringrift.store.audit import AuditSettings

    with RunDirectory.open(directory) as run:
        configs, settings = [row.config for row in GameStore(run).counts(config)], AuditSettings(share, recheck)
        done = {name: audit_stage(run, name, settings, time.time(), show=Bars()) for name in configs}
        for name, one in done.items():
            context(run).publish(
                GamesAudited(config=name, job="", **dataclasses.asdict(one)), id_=secrets.token_hex(16)
            )
    if json:
        print_json({name: dataclasses.asdict(one) for name, one in done.items()})
    for name, one in done.items() if not json else ():
        typer.echo(f"{name}: {one.searched} games searched again, {one.replayed} replayed, {one.skipped} skipped")
        for line in one.quarantined:
            typer.echo(f"  quarantined: {line}")
    if any(one.quarantined for one in done.values()):
        raise typer.Exit(1)


@data_app.command("show")
def data_show(
    directory: Directory, game: Annotated[str, typer.Argument(help="Id or work id of a game.")], json: Json = False
) -> None:
    """All that is known of one game: who made it with what, its state, quality, shard; `ringrift replay` shows it."""
    from ringrift.store import GameStore, RunDirectory

    with RunDirectory.open(directory) as run:
        store = GameStore(run)
        about = store.about(store.find(game).id)
    print_row(about, json=json)


@data_app.command(
    "retract", epilog="ringrift data retract runs/a --worker host:4711 --since 2026-11-22T08:00 --dry-run"
)
def data_retract(
    directory: Directory,
    worker: Annotated[str, typer.Option(help="A worker, as `data show` names it, or a whole machine.")] = "",
    model: Annotated[str, typer.Option(help="Id of the model that played.")] = "",
    game: Annotated[list[int] | None, typer.Option(help="Id of a game; as often as you like.")] = None,
    since: Annotated[float | None, time_option("Played from then on")] = None,
    until: Annotated[float | None, time_option("Played up to then")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept.")] = "by hand",
    undo: Annotated[int | None, typer.Option(metavar="ID", help="Put the games of that retraction back.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which games and models.")] = False,
    json: Json = False,
) -> None:
    """Take games out of the window, and name the models that learned from them; can be undone."""
    from ringrift.store import RunDirectory
    from ringrift.store.provenance import retract, undo_retraction

    if undo is not None and (worker or model or game or since is not None or until is not None):
        raise SettingsError("--undo puts all games of that retraction back: give nothing else that chooses games")
    with RunDirectory.open(directory) as run:
        if undo is not None:
            done = undo_retraction(run, undo, dry_run=dry_run)
        else:
            done = retract(
                run, worker=worker, model=model, games=game or (), reason=reason, dry_run=dry_run,
                since=0.0 if since is None else since, until=math.inf if until is None else until,
            )  # fmt: skip
    print_row(dataclasses.asdict(done), json=json)


@data_app.command("retractions")
def data_retractions(directory: Directory, json: Json = False) -> None:
    """Games that were taken back, why, and the models that learned from them."""
    from ringrift.store import RunDirectory
    from ringrift.store.provenance import retractions

    with RunDirectory.open(directory) as run:
        rows = [dataclasses.asdict(one) for one in retractions(run)]
    print_table(rows, "nothing was taken back", json=json)


@data_app.command("quality", epilog="ringrift data quality runs/a --plot quality.png")
def data_quality(
    directory: Directory,
    config: AnyConfig = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it: a .png, .svg or .pdf.")] = None,
    json: Json = False,
) -> None:
    """Scores of the games: histogram, parts by generation, doubles, and how varied the openings are."""
    from ringrift.store import GameStore, RunDirectory
    from ringrift.store import quality as q

    file = plot and picture(plot, ".png", ".svg", ".pdf")
    with RunDirectory.open(directory) as run:
        reports = [q.report(run, row.config) for row in GameStore(run).counts(config)]
    if file and not reports:
        raise DataError(f"{directory} has no games{f' of {config}' if config else ''} to draw")
    if file:
        q.plot(reports, file)
    if json:
        print_json({"rows": [dataclasses.asdict(one) for one in reports]})
        return
    for one in reports:
        newer, older = one.openings
        typer.echo(
            f"{one.config}: {one.games} games, mean quality {one.mean:.3f}, {one.unscored} not scored yet; doubles"
            f" {one.twins:.1%}, entropy of openings {newer:.2f} nats of late, {older:.2f} before"
        )
        typer.echo("by tenths: " + " ".join(map(str, one.histogram)))
        print_table(list(one.generations), "no games yet")


@data_app.command("validate")
def data_validate(
    shard: Annotated[
        Path,
        typer.Argument(metavar="SHARD", help="A shard: a .npz file, as in RUN/blobs."),
    ],
    detailed: Annotated[bool, typer.Option("--detailed", help="Also ranges of all arrays, and distributions.")] = False,
    games: Annotated[int, typer.Option(min=0, help="Games to make into samples again and compare, in a run.")] = 4,
    json: Json = False,
) -> None:
    """Look at every number of a shard, and compare it with games of its run; status 1 where anything is wrong.

    ringrift data validate runs/square8_2p/blobs/3f/3f….npz --detailed
    """
    from ringrift.pipeline.settings import recipe_of
    from ringrift.settings import load
    from ringrift.store import GameStore, RunDirectory
    from ringrift.store.samples import read_shard
    from ringrift.store.shard_report import validate_shard

    shard.stat()  # one that is not there is not corrupt
    place, config = shard.absolute().parents, read_shard(shard).config
    if games and len(place) > 2 and (place[2] / "run.json").is_file():
        with RunDirectory.open(place[2]) as run:
            store, kept = GameStore(run), run.fabric.registry.get(f"settings/{config}")
            settings = recipe_of(run.fabric.registry, config)[0].export if kept else load(config).export
            report = validate_shard(
                shard, detailed=detailed, game=lambda id_: store.find(str(id_)), settings=settings, remake=games
            )
    else:
        report = validate_shard(shard, detailed=detailed)
    if json:
        print_json(dataclasses.asdict(report) | {"ok": not report.problems})
    else:
        typer.echo(f"{report.samples} samples of {report.games} games of {report.config}, {report.bytes:,} bytes")
        if report.arrays:
            print_table([{"least": None, "largest": None} | array for array in report.arrays])
        for name, shares in (report.distributions or {}).items():
            typer.echo(f"{name:20} " + "  ".join(f"{key} {value:g}" for key, value in shares.items()))
        for problem in report.problems:
            typer.echo(f"wrong: {problem}")
        typer.echo(f"{len(report.problems)} problems; {report.remade} games made again")
    if report.problems:
        raise typer.Exit(1)


@data_app.command("import", epilog="ringrift data import old/ games.jsonl --run runs/square8_2p --dry-run")
def data_import(
    places: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Databases, JSON lines, or directories.")],
    directory: Into = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that play games again; default: one a core.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Import nothing where a single game or file is unsound.")
    ] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take in games of the earlier service: each is played again, and quarantined where it differs.

    Status 1 where a file could not be read, or nothing of it kept. Repeat it after a stop: what is there is not added
    again.
    """
    from contextlib import ExitStack

    from ringrift.earlier.importing import import_files, sources
    from ringrift.observe.machine import usable_cores
    from ringrift.pipeline.display import Bars
    from ringrift.store import GameStore, RunDirectory

    files = sources(places)
    with ExitStack() as stack:
        store = None
        if directory is None and not dry_run:
            raise SettingsError("which run gets the games? give --run DIR, or --dry-run to store nothing")
        if directory is not None and (not dry_run or directory.exists()):
            opened = RunDirectory.open(directory) if dry_run else RunDirectory.open_or_create(directory)
            store = GameStore(stack.enter_context(opened))
        advance = stack.enter_context(Bars()(f"importing {len(files)} files", 100))
        reports = import_files(
            files, store, processes=processes or usable_cores(), dry_run=dry_run, strict=strict,
            progress=_percent(advance),
        )  # fmt: skip
    if json:
        print_json({"files": [dataclasses.asdict(report) for report in reports], "dry_run": dry_run})
    else:
        for report in reports:
            print_report(report)
        done = sum(report.imported for report in reports)
        typer.echo(f"{done} new games {'would be ' if dry_run else ''}imported from {len(reports)} files")
    if any(report.unread for report in reports) or all(report.passed_over for report in reports):
        raise typer.Exit(1)


def _percent(advance: "Advance") -> Callable[[int, int], None]:
    """Progress in games, of a number that grows from file to file, as a bar of 100."""
    return lambda done, total: advance(100 * done // max(total, 1), f"{done} of {total} games")


def print_report(report: "FileReport") -> None:
    """What came of one file, in a few lines."""
    if report.passed_over:
        typer.echo(f"{report.path}: passed over: {report.passed_over}")
        return
    typer.echo(
        f"{report.path}: {report.games} games, {report.plies} plies: {report.imported} new ({report.early} of them"
        f" ended within a turn), {report.known} known, {report.quarantined} quarantined ({report.unfinished} of them"
        f" not played to their end), {report.refused} refused"
    )
    for problem in report.problems[:SHOWN]:
        typer.echo(f"  {problem.game}: {problem.reason}" if problem.game else f"  {problem.reason}")
    if len(report.problems) > SHOWN:
        typer.echo(f"  … and {len(report.problems) - SHOWN} more: see --json")
    if report.error:
        typer.echo(f"  not read to its end: {report.error}" if report.games else f"  not read: {report.error}")


@data_app.command("merge", epilog="ringrift data merge runs/a runs/b --run runs/both --strict")
def data_merge(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Runs whose games are taken.")],
    into: Into = None,
    strict: Annotated[bool, typer.Option("--strict", help="Merge nothing where a single game is unsound.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put the games of several runs into one, each once; shards and models stay where they are."""
    from contextlib import ExitStack

    from ringrift.fabric.scratch import scratch
    from ringrift.pipeline.display import Bars
    from ringrift.store import RunDirectory
    from ringrift.store.merge import merge

    if into is None:
        raise SettingsError("which run gets the games? give --run DIR")
    with ExitStack() as stack:
        runs = [stack.enter_context(RunDirectory.open(directory, read_only=True)) for directory in directories]
        if dry_run and into.exists():
            opened = RunDirectory.open(into, read_only=True)
        else:
            opened = RunDirectory.open_or_create(stack.enter_context(scratch()) / "run" if dry_run else into)
        target = stack.enter_context(opened)
        advance = stack.enter_context(Bars()(f"merging {len(runs)} runs", 100))
        reports = merge(target, runs, strict=strict, dry_run=dry_run, progress=_percent(advance))
    if json:
        print_json({"runs": [dataclasses.asdict(report) for report in reports], "dry_run": dry_run})
        return
    for report in reports:
        typer.echo(
            f"{report.path}: {report.games} games: {report.merged} {'would be ' if dry_run else ''}merged"
            f" ({report.quarantined} of them quarantined), {report.known} known, {len(report.left_out)} left out"
        )
        for work_id, reason in report.left_out[:SHOWN]:
            typer.echo(f"  {work_id}: {reason}")
