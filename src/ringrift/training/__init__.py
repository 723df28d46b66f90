"""Training: from sample shards to a checkpoint. Settings and `tracking` are importable without torch."""

from typing import TYPE_CHECKING, Any

from ringrift.training.settings import TrainSettings

if TYPE_CHECKING:
    from ringrift.training.fit import TrainProgress, TrainResult, train

__all__ = ["TrainProgress", "TrainResult", "TrainSettings", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from ringrift.training import fit

        return getattr(fit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
