"""The whole training loop on one page: play, replay, make samples, train, compare, promote.

    python examples/loop.py [RUN_DIRECTORY]

Two small rounds on square8_2p, about a minute on two cores. `ringrift loop` runs the same functions as jobs of
services, all at once, with progress bars, resumption and limits.
"""

import sys
from pathlib import Path

from ringrift.evaluation import GateSettings, MatchSettings
from ringrift.pipeline import export, gate, ingest, models, selfplay, train
from ringrift.search import GumbelSettings
from ringrift.selfplay import SelfplaySettings
from ringrift.store import ModelStore, RunDirectory
from ringrift.store.samples import ExportSettings
from ringrift.training import TrainSettings

CONFIG = "square8_2p"
ROUNDS, GAMES = 2, 250


def main(directory: str = "runs/example") -> None:
    play = SelfplaySettings(search=GumbelSettings(simulations=16))
    learn = TrainSettings(architecture="nano")
    judge = GateSettings(gates={"random": 0.85}, games=100)
    with RunDirectory.open_or_create(Path(directory)) as run, run.loop_lease() as lease:
        for number in range(1, ROUNDS + 1):
            # Self-play: the heuristic to begin with, then the newest network; every finished game is stored at once.
            newest = models.newest_model(run, CONFIG, learn)
            player = models.choose_player(run, CONFIG, "heuristic" if number == 1 else newest.id, play.search)
            played = selfplay.play_games(run, CONFIG, f"example-{number}", GAMES, play, player)
            # Another process replays the games from their moves; what replays becomes samples.
            replayed = ingest.ingest_games(run)
            exported = export.export_games(run, CONFIG, ExportSettings())
            # Training starts from the newest network and makes a candidate.
            candidate = train.train_model(run, CONFIG, learn)
            # The candidate plays its gauntlet, ending with the promoted model, and takes its place if it is better.
            verdict = gate.gate_model(run, CONFIG, candidate.id, judge, MatchSettings(), lease=lease)
            print(
                f"round {number}: {played.new} games, {replayed.quarantined} quarantined, {exported.samples} samples,"
                f" loss {candidate.metrics['loss_before']:.3f} → {candidate.metrics['loss_after']:.3f};"
                f" {'promoted' if verdict.passes else 'not promoted'}: {verdict.reason}"
            )
        print("promoted:", ModelStore(run).promoted(CONFIG))


if __name__ == "__main__":  # the playing processes import this file
    main(*sys.argv[1:])
