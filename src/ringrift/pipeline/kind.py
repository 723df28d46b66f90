"""What computing a job of the loop may use, besides what every job gets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ringrift.fabric import Job
from ringrift.kernel import kind
from ringrift.kernel.kind import Show, quiet
from ringrift.pipeline.settings import LoopSettings, Recipe
from ringrift.store import RunDirectory


@dataclass(frozen=True)
class Work(kind.Work):
    """A job of a config."""

    recipe: Recipe = field(default_factory=Recipe, kw_only=True)
    """The settings in force for its config."""
    settings: str = field(default="", kw_only=True)
    """Hash of the recipe."""


def work_by_hand(run: RunDirectory, config: str, show: Show = quiet, seed: int = 0, **parts: object) -> Work:
    """What a command does itself: with `parts` of the recipe, and keeping each piece at once."""
    recipe = replace(Recipe(loop=LoopSettings(seed=seed)), **parts)  # type: ignore[arg-type]
    by_hand = Job("by hand", "by hand", config)
    return Work(by_hand, run.fabric.blobs, run.path, show, parcel_seconds=0.0, recipe=recipe)
