"""From self-play to promotion: the stages as plain functions, and the loop that runs them round after round."""

from ringrift.pipeline.loop import LoopResult, Round, rounds, run_loop
from ringrift.pipeline.settings import LoopSettings, Recipe, smoke

__all__ = ["LoopResult", "LoopSettings", "Recipe", "Round", "rounds", "run_loop", "smoke"]
