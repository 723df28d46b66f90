"""What CONTRIBUTING says to touch is enough: a player with a search of its own, a stage with its event, a network of
another family."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ringrift.clock import SYSTEM_CLOCK
from ringrift.fabric import Parcel
from ringrift.kernel.bus import Bus
from ringrift.kernel.events import Event
from ringrift.kernel.kind import Kind, Order, Payload
from ringrift.kernel.service import Service, Step
from ringrift.kernel.supervisor import tick
from ringrift.kernel.topology import loose
from ringrift.pipeline import table
from ringrift.pipeline.kind import Work
from ringrift.pipeline.service import Context
from ringrift.pipeline.settings import Recipe, keep_recipe
from ringrift.players import Decision, Player, choose
from ringrift.players.player import Rng, draw_seeds
from ringrift.players.table import PLAYERS, PlayerSpec
from ringrift.rules import Game, Move
from ringrift.store import GameStore, RunDirectory

CONFIG = "hex8_3p"


# -- a player with a search --------------------------------------------------------------------------------------------


class Narrowing(Player):
    """Leaves the others as few moves as it can."""

    def decide(self, games: Sequence[Game], rng: Rng) -> list[Decision]:
        return [Decision(self._best(game, seed)) for game, seed in zip(games, draw_seeds(rng, len(games)), strict=True)]

    def _best(self, game: Game, seed: int) -> Move:
        own, moves, left = game.copy(), game.playable_moves(), []
        for move in moves[:40]:
            own.push(move)
            left.append(0 if own.is_over else len(own.legal_moves))
            own.pop()
        fewest = np.flatnonzero(np.array(left) == min(left))
        return moves[int(fewest[seed % len(fewest)])]


def test_a_player_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = PlayerSpec("narrowing", "leaves others few moves", Narrowing, thinks="not")
    monkeypatch.setitem(PLAYERS, row.name, row)
    players = [choose(name, CONFIG).make() for name in ("narrowing", "random", "random")]
    game, rng = Game(CONFIG), np.random.default_rng(1)
    while not game.is_over:
        game.push(players[game.to_move - 1].play(game, rng=rng).move)
    assert game.outcome() is not None


# -- a stage with its event --------------------------------------------------------------------------------------------


class PliesCounted(Event):
    """The plies of all valid games were counted."""

    job: str
    plies: int


class Everything(Payload):
    """All there is."""


class Lengths(Order):
    plies: tuple[int, ...]


def prepare(run: RunDirectory, _: Work, __: Everything) -> Lengths:
    return Lengths(plies=tuple(row.plies for row in GameStore(run).counts()))


def compute(_: Work, order: Lengths) -> Iterator[Parcel]:
    yield Parcel({"plies": sum(order.plies)})


def apply(run: RunDirectory, at: Work, parcel: Parcel) -> PliesCounted:
    run.fabric.registry.set("plies", dict(parcel.about))
    return PliesCounted(config=at.config, job=at.job.id, plies=parcel.about["plies"])


def plan(ctx: Context) -> Iterator[Step]:
    for config in ctx.configs:
        if ctx.run.fabric.registry.get("plies") is None and not ctx.run.fabric.jobs.ls(kind=KIND.name):
            job = KIND.job("1", Everything(), config)
            yield Step(f"count the plies of {config}", "nobody has", lambda job=job: ctx.run.fabric.jobs.put([job]))  # type: ignore[misc]


KIND = Kind("plies", Everything, Lengths, prepare, compute, apply, PliesCounted, priority=5)
STAGE: Service[Context] = Service("plies", plan, every=60.0, job=KIND)


def test_a_stage_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(table.WHOLE, services=(*table.WHOLE.services, STAGE), events={"PliesCounted": PliesCounted})
    assert loose(whole) == ["nobody hears PliesCounted"]
    assert loose(replace(whole, recorded={PliesCounted: "for the test"})) == []
    monkeypatch.setitem(table.KINDS, KIND.name, KIND)
    with RunDirectory.in_memory(SYSTEM_CLOCK) as run:
        keep_recipe(run.fabric.registry, CONFIG, Recipe())
        ctx = Context(run, Bus(run.fabric.log, "test"), recipes={CONFIG: Recipe()})
        assert (tick(STAGE, ctx), tick(STAGE, ctx)) == (1, 0)
        (job,) = run.fabric.jobs.claim("w", {"cores": 1, "memory": 1e12})
        result = table.run_job(run, job, "test")
        assert result["plies"] == 0 and ctx.bus.last(PliesCounted) is not None


# -- a network of another family ---------------------------------------------------------------------------------------


@pytest.mark.training
def test_a_network_of_another_family_is_two_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from ringrift.nets import export_onnx, initial_checkpoint, random_positions
    from ringrift.nets.architectures import ARCHITECTURES, Architecture
    from ringrift.nets.network import BLOCKS

    class Bottleneck(torch.nn.Module):
        """Half as wide within."""

        def __init__(self, channels: int, squeeze: int) -> None:
            super().__init__()
            self.down = torch.nn.Conv2d(channels, channels // 2, 1)
            self.up = torch.nn.Conv2d(channels // 2, channels, 3, padding=1)

        def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            y = torch.relu(x + self.up(torch.relu(self.down(x))))
            return y if mask is None else y * mask

    monkeypatch.setitem(BLOCKS, "bottleneck", Bottleneck)
    monkeypatch.setitem(ARCHITECTURES, "thin", Architecture("thin", channels=16, blocks=2, family="bottleneck"))
    onnx, _ = export_onnx(initial_checkpoint("thin", CONFIG, seed=1), random_positions(CONFIG, 64), precision="float32")
    (tmp_path / "thin.onnx").write_bytes(onnx)
    monkeypatch.undo()  # what plays it need not know the family
    player = choose("policy:m-1", CONFIG, models=lambda name: (name, tmp_path / "thin.onnx")).make()
    assert player.play(Game(CONFIG)).move in Game(CONFIG).legal_moves
