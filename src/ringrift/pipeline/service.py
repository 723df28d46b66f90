"""What the plans of the loop's stages may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ringrift.kernel import service
from ringrift.pipeline.settings import SupervisionSettings

if TYPE_CHECKING:
    from ringrift.pipeline.settings import Recipe
    from ringrift.store import RunDirectory


@dataclass
class Context(service.Context):
    """The run and its configs, besides what every service gets."""

    run: RunDirectory
    """The store, and `run.fabric`."""
    services: SupervisionSettings = field(default_factory=SupervisionSettings)
    recipes: dict[str, Recipe] = field(default_factory=dict, kw_only=True)
    """The settings in force for each config."""

    @property
    def configs(self) -> tuple[str, ...]:
        return tuple(self.recipes)
