"""`ringrift match | rate`: who is stronger, and by how much."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ringrift.cli.options import Assign, Config, Json, Run, SettingsFile, directory_of, settings_of
from ringrift.cli.printing import print_json
from ringrift.errors import SettingsError

app = typer.Typer()


@app.command()
def match(
    a: Annotated[
        str, typer.Argument(metavar="A", help="random, heuristic, gumbel, shipped, best, initial or a model id.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    config: Config = "square8_2p",
    run: Run = None,
    games: Annotated[int | None, typer.Option(min=1, help="How many games; of a test, at most so many.")] = None,
    simulations: Annotated[int | None, typer.Option(min=1, help="Of each search, the same for both.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.001, help="Time of each decision, in place of simulations; one game at a time a process."),
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which a decision makes its game void.")] = None,
    sprt: Annotated[
        str | None, typer.Option(metavar="LO,HI", help="Stop when it is clear whether A is better by LO or by HI Elo.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="A on one seat, each in turn, B on all others.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep every game as it ends; the same command goes on from it.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of openings and players.")] = None,
    assign: Assign = None,
    settings: SettingsFile = None,
    json: Json = False,
) -> None:
    """Let two players play each other: seats rotated, the same random openings for both, none where training starts.

    Games with a crash, an illegal move or a decision beyond the timeout are void: counted, replaced, not scored; so
    are games that repeat another. What is counted and how is in docs/evaluation.md.

    \b
    ringrift match heuristic random --games 200
    ringrift match best heuristic --run runs/hex8_3p -c hex8_3p --simulations 64 --save best.jsonl
    ringrift match best heuristic --run runs/hex8_3p -c hex8_3p --alone --games 200
    ringrift match m-20 m-19 --run runs/square8_2p --sprt 0,20 --games 4000 --seconds 0.05 --save m-20.jsonl
    """
    from ringrift.pipeline import evaluate
    from ringrift.pipeline.display import Bars, match_lines
    from ringrift.players import needs_run
    from ringrift.store import RunDirectory

    given = settings_of(config, settings, assign, **{
        "match.games": games, "match.search.simulations": simulations, "match.seconds": seconds,
        "match.timeout": timeout, "match.sprt": sprt and hypotheses(sprt), "loop.seed": seed,
    })  # fmt: skip
    bars = Bars()
    with ExitStack() as stack:
        opened = None
        if run is not None or needs_run(a) or needs_run(b):
            opened = stack.enter_context(RunDirectory.open(directory_of(run, config, given)))
        result = evaluate.play_match(
            opened, config, a, b, dataclasses.replace(given.match, alone=alone), seed=given.loop.seed, save=save,
            show=bars, planned=lambda plan: bars.console.print(plan.sentence()),
        )  # fmt: skip
    if json:
        print_json(result.to_dict())
    else:
        typer.echo("\n".join(match_lines(result)))


def hypotheses(given: str) -> tuple[float, float]:
    """The two of `--sprt`. Raises SettingsError for a text of another form."""
    try:
        low, high = map(float, given.split(","))
    except ValueError:
        said = "two differences in Elo are right, the smaller one first: 0,20"
        raise SettingsError(f"--sprt {given}: {said}") from None
    return low, high


@app.command()
def rate(
    pool: Annotated[list[Path], typer.Argument(metavar="POOL…", help="Files of `ringrift match --save`.")],
    anchors: Annotated[Path | None, typer.Option(metavar="FILE", help="Other anchors than ringrift's own.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="PLAYER", help="Write this player's Elo down as an anchor, for ever.")
    ] = None,
    ranks: Annotated[
        bool, typer.Option("--ranks", help="Use who came second and third too, not only who won.")
    ] = False,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    pairs: Annotated[int, typer.Option(min=0, help="Propose so many matches that would tell most.")] = 0,
    json: Json = False,
) -> None:
    """Rate the players of a pool of matches by maximum likelihood, on the scale of anchors that never change.

    A player is named with its budget, as in m-20@64 or gumbel@0.1s. Files can be named in any number and put one after
    the other; a match that stands in several counts once. How ratings are made is in docs/evaluation.md.

    \b
    ringrift match heuristic random --games 400 --save pool/1.jsonl
    ringrift match best heuristic --run runs/square8_2p --simulations 64 --save pool/2.jsonl
    ringrift rate pool/*.jsonl --pairs 3
    ringrift rate runs/square8_2p/matches/*.jsonl --json
    ringrift rate pool/1.jsonl --anchor heuristic
    """
    from ringrift.errors import DataError
    from ringrift.evaluation import ratings
    from ringrift.pipeline.display import print_pool

    table = anchors or ratings.ANCHORS
    config, games = ratings.read_pool(pool)
    known = ratings.read_anchors(table).get(config, {})
    rated = ratings.rate(games, known, config=config, ranks=ranks, confidence=confidence)
    proposed = ratings.next_pairs(rated, pairs)
    if anchor:
        found = {one.player: one.elo for one in rated.ratings}
        if anchor not in found:
            raise DataError(f"{anchor} is not in the pool, which has {', '.join(found)}")
        ratings.add_anchor(table, config, anchor, found[anchor])
    if json:
        print_json({**rated.to_dict(), "pairs": proposed})
        return
    print_pool(rated)
    for one, other in proposed:
        typer.echo(f"next: {one} against {other}")
