"""RingRift as a PettingZoo environment; needs `pip install 'ringrift[research]'`.

An action is an index into the playable list of the position (`env.game.playable_moves()`), masked to its length. Seats
without rings stay in the game, since territory can still make them win.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import AECEnv
from pettingzoo.utils import wrappers

from ringrift.rules.config import config_info
from ringrift.rules.game import Game, Options
from ringrift.rules.render import Board, svg

#: Longest playable list that can be chosen from, for boards of up to 100 cells and for larger ones.
ACTIONS = (4096, 16384)
#: Meaning of the observation's planes, seats counted from the one that looks: [H, W, PLANES].
PLANES = (
    *(f"height of stacks that seat +{i} controls" for i in range(4)),
    *(f"cap height of stacks that seat +{i} controls" for i in range(4)),
    *(f"markers of seat +{i}" for i in range(4)),
    *(f"territory of seat +{i}" for i in range(4)),
    *(f"rings in hand of seat +{i}, everywhere" for i in range(4)),
    *(f"eliminated rings of seat +{i}, everywhere" for i in range(4)),
    "phase, everywhere",
    "1 on the cells of the board",
)


def env(config: str = "square8_2p", options: Options | None = None, render_mode: str | None = None) -> Any:
    """The environment with PettingZoo's usual guards against calls in the wrong order."""
    return wrappers.OrderEnforcingWrapper(RingRiftEnv(config, options, render_mode))


class RingRiftEnv(AECEnv):  # type: ignore[misc]
    """One game; agents are `seat_1`, `seat_2`, … The winner gets 1, the others share -1."""

    metadata = {"name": "ringrift_v1", "render_modes": ["ansi", "svg"], "is_parallelizable": False}  # noqa: RUF012

    def __init__(
        self, config: str = "square8_2p", options: Options | None = None, render_mode: str | None = None
    ) -> None:
        super().__init__()
        self.info = config_info(config)
        self.options = options
        self.render_mode = render_mode
        self.possible_agents = [f"seat_{seat + 1}" for seat in range(self.info.players)]
        self.size = ACTIONS[self.info.cells > 100]
        shape = (self.info.height, self.info.width, len(PLANES))
        self.space = spaces.Dict(
            {
                "observation": spaces.Box(0, 1000, shape, np.int16),
                "action_mask": spaces.Box(0, 1, (self.size,), np.int8),
            }
        )
        self.action_spaces = {agent: spaces.Discrete(self.size) for agent in self.possible_agents}
        self.observation_spaces = dict.fromkeys(self.possible_agents, self.space)
        self.game = Game(config, options)

    def observation_space(self, agent: str) -> Any:
        """The space of what an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The space of an agent's actions."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """A new game. There is no chance in the game, so the seed has no effect."""
        self.game = Game(self.info.name, self.options)
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.agent_selection = self.agents[0]

    def step(self, action: int | None) -> None:
        """Plays a move of the seat to move; after the end, lets each agent take its leave."""
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            return
        playable = self.game.playable_packed()
        if action is None or not 0 <= action < len(playable):
            raise ValueError(f"{agent} has {len(playable)} playable moves, so action {action} is none of them")
        self._cumulative_rewards[agent] = 0
        self.game.push_packed(int(playable[action]))
        self._clear_rewards()
        if outcome := self.game.outcome():
            share = -1.0 / (self.info.players - 1)
            self.rewards = {a: 1.0 if i + 1 == outcome.winner else share for i, a in enumerate(self.possible_agents)}
            self.terminations = dict.fromkeys(self.agents, True)
            self.infos = {a: {"rank": rank} for a, rank in zip(self.possible_agents, outcome.ranks, strict=True)}
        else:
            self.agent_selection = self.possible_agents[self.game.to_move - 1]
        self._accumulate_rewards()

    def observe(self, agent: str) -> dict[str, npt.NDArray[Any]]:
        """Planes seen from the agent's seat, and the mask of its actions (all zero when it is not to move)."""
        seat = self.possible_agents.index(agent)
        mask = np.zeros(self.size, np.int8)
        if seat + 1 == self.game.to_move:
            mask[: len(self.game.playable_packed())] = 1
        return {"observation": self._planes(seat), "action_mask": mask}

    def _planes(self, seat: int) -> npt.NDArray[np.int16]:
        board, seats = Board.of(self.game), self.info.players
        planes = np.zeros((self.info.height, self.info.width, len(PLANES)), np.int16)
        r = self.info.width // 2 if self.info.is_hex else 0
        for (x, y), rings in board.stacks.items():
            seen = (int(rings[-1]) - 1 - seat) % seats
            planes[x + r, y + r, seen] = len(rings)
            planes[x + r, y + r, 4 + seen] = len(rings) - len(rings.rstrip(rings[-1]))
        for base, things in ((8, board.markers), (12, board.collapsed)):
            for (x, y), owner in things.items():
                planes[x + r, y + r, base + (owner - 1 - seat) % seats] = 1
        for i, score in enumerate(self.game.scores()):
            planes[:, :, 16 + (i - seat) % seats] = score.hand
            planes[:, :, 20 + (i - seat) % seats] = score.elim
        planes[:, :, 24] = self.game.phase
        for x, y in board.cells:
            planes[x + r, y + r, 25] = 1
        return planes

    def render(self) -> str | None:
        """The board as text (`ansi`) or as a picture (`svg`)."""
        if self.render_mode is None:
            return None
        return self.game.ascii() if self.render_mode == "ansi" else svg(self.game)

    def close(self) -> None:
        """Nothing to close."""
