"""Analysis: what a search sees in a position, as best lines, visits and each seat's probability of winning."""

from ringrift.analysis.analysis import Analysis, AnalysisSettings, MoveAnalysis, analyse
from ringrift.analysis.engine import Engine, Query
from ringrift.analysis.replay import Rerun, position_at, recorded_settings, rerun

__all__ = [
    "Analysis",
    "AnalysisSettings",
    "Engine",
    "MoveAnalysis",
    "Query",
    "Rerun",
    "analyse",
    "position_at",
    "recorded_settings",
    "rerun",
]
