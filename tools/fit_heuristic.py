"""Fits the weights of the linear heuristic (cpp/core/heuristic.cpp) to the winners of its own games.

    .venv/bin/python tools/fit_heuristic.py --samples build/heuristic.npz             # plays, then fits
    .venv/bin/python tools/fit_heuristic.py --samples build/heuristic.npz             # fits again
    .venv/bin/python tools/fit_heuristic.py --samples build/heuristic.npz --without tall,rival

Softmax regression over the seats by Newton steps with a ridge, for each seat count and size of board. Prints the log
loss per position on games held out (every fifth), with the weights in the table and with the fit; then the weights to
paste. In each game half of the decisions are drawn at random up to some point; the positions are those after it, where
only one decision in fifty is.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringrift import _core
from ringrift.rules import CONFIGS, Game, Phase, config_info
from ringrift.search import HEURISTIC_TABLE

Floats = NDArray[np.float64]
NAMES = [row.name for row in HEURISTIC_TABLE]


def play(config: str, number: int, seed: int, most: int) -> tuple[list[NDArray[np.float32]], int]:
    """Features [P, F] at the start of at most so many turns of one game, and the winner, from 0."""
    rng = np.random.default_rng([CONFIGS.index(config), number, seed])
    game, found = Game(config), []
    careless = rng.integers(config_info(config).cells // 2)
    while not game.is_over:
        if game.phase is Phase.RING_PLACEMENT and careless <= 0:
            found.append(_core.heuristic_features(game))
        moves = game.playable_packed()
        if len(moves) > 1:
            careless -= 1
        if len(moves) == 1 or rng.random() < (0.5 if careless > 0 else 0.02):
            bits = moves[rng.integers(len(moves))]
        else:
            (bits,) = _core.greedy([game], [int(rng.integers(1 << 62))])
        game.push_packed(int(bits))
    outcome = game.outcome()
    assert outcome is not None
    chosen = rng.choice(len(found), min(most, len(found)), replace=False)
    return [found[i] for i in chosen], outcome.winner - 1


def collect(games: int, large_games: int, seed: int) -> dict[str, Any]:
    """Per config features [N, P, F], flat, after two columns: the game's number and its winner."""
    samples = {}
    for config in CONFIGS:
        small = config_info(config).cells < 100
        rows = []
        for number in range(games if small else large_games):
            features, winner = play(config, number, seed, 10 if small else 40)
            rows += [np.concatenate(([number, winner], one.ravel())) for one in features]
        samples[config] = np.array(rows, np.float32)
        print(f"{config}: {len(rows)} positions", flush=True)
    return samples


def log_loss(x: Floats, winner: NDArray[np.int64], weights: Floats) -> tuple[float, Floats]:
    """Mean log loss, and the probabilities [N, P], of features [N, P, F]."""
    scores = x @ weights
    scores -= scores.max(axis=1, keepdims=True)
    p = np.exp(scores)
    p /= p.sum(axis=1, keepdims=True)
    return float(-np.log(p[np.arange(len(p)), winner]).mean()), p


def fit(x: Floats, winner: NDArray[np.int64], ridge: float) -> tuple[Floats, Floats]:
    """Weights [F] and their standard errors."""
    weights = np.zeros(x.shape[2])
    for _ in range(12):
        _, p = log_loss(x, winner, weights)
        mean = np.einsum("np,npf->nf", p, x)
        gradient = (x[np.arange(len(x)), winner] - mean).sum(axis=0) - ridge * weights
        spread = (np.sqrt(p)[..., None] * x).reshape(-1, len(weights))
        hessian = spread.T @ spread - mean.T @ mean + ridge * np.eye(len(weights))
        weights += np.linalg.solve(hessian, gradient)
    return weights, np.sqrt(np.diag(np.linalg.inv(hessian)))


def main() -> None:
    """Play where there are no samples yet, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--games", type=int, default=1500, help="per small config")
    parser.add_argument("--large-games", type=int, default=40, help="per large config")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ridge", type=float, default=20.0)
    parser.add_argument("--without", default="", help="features to leave out, joined by commas")
    given = parser.parse_args()
    if not given.samples.exists():
        np.savez(given.samples, **collect(given.games, given.large_games, given.seed))
    samples = np.load(given.samples)
    kept = np.array([name not in given.without.split(",") for name in NAMES])
    columns = []
    for size, seats in ((size, seats) for size in ("small", "large") for seats in (2, 3, 4)):
        infos = ((config, config_info(config)) for config in CONFIGS)
        rows = np.concatenate(
            [samples[c] for c, info in infos if info.players == seats and (info.cells < 100) == (size == "small")]
        )
        held, winner = rows[:, 0] % 5 == 4, rows[:, 1].astype(np.int64)
        x = rows[:, 2:].reshape(len(rows), seats, -1).astype(np.float64) * kept
        table = np.array([row.weights[seats - 2 + 3 * (size == "large")] for row in HEURISTIC_TABLE])
        weights, error = fit(x[~held], winner[~held], given.ridge)
        before, after = (log_loss(x[held], winner[held], w)[0] for w in (table, weights))
        figures = f"{held.sum()} of {len(held)} held out: {before:.4f} before, {after:.4f} after"
        print(f"{seats} seats, {size} boards, {figures}")
        columns.append((weights * kept, error))
    for f, name in enumerate(NAMES):
        small, large = (", ".join(f"{w[f]:.2f}F" for w, _ in half) for half in (columns[:3], columns[3:]))
        ratios = " ".join(f"{w[f] / e[f]:5.1f}" for w, e in columns)
        print(f'"{name}": {{{{{small}}}, {{{large}}}}}   weight / error {ratios}')


if __name__ == "__main__":
    main()
