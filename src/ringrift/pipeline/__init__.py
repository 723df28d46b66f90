"""From self-play to promotion: one file a stage, and the kernel that runs them."""

from ringrift.kernel.settings import WorkerSettings
from ringrift.pipeline.settings import LoopSettings, Recipe, smoke

__all__ = ["LoopSettings", "Recipe", "WorkerSettings", "smoke"]
