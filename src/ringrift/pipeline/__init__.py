"""From self-play to promotion: the stages as plain functions, the services that decide when to run them, their jobs."""

from ringrift.pipeline.settings import LoopSettings, Recipe, WorkerSettings, smoke

__all__ = ["LoopSettings", "Recipe", "WorkerSettings", "smoke"]
