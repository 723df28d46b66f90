"""Searches: thin wrappers over the trees in the core. Needs numpy alone."""

from ringrift._core import Stop
from ringrift.search.heuristic import HEURISTIC_TABLE, HeuristicRow, greedy, heuristic_values
from ringrift.search.minimax import MinimaxResult, minimax
from ringrift.search.settings import (
    MINIMAX_RULES,
    GumbelSettings,
    MinimaxSettings,
    PuctSettings,
    SearchEconomy,
    TreeMemory,
    TreeSettings,
)
from ringrift.search.tree import FinishedGame, Searcher, SearchResult, SelfplayPool, decision_seed, search

__all__ = [
    "HEURISTIC_TABLE",
    "MINIMAX_RULES",
    "FinishedGame",
    "GumbelSettings",
    "HeuristicRow",
    "MinimaxResult",
    "MinimaxSettings",
    "PuctSettings",
    "SearchEconomy",
    "SearchResult",
    "Searcher",
    "SelfplayPool",
    "Stop",
    "TreeMemory",
    "TreeSettings",
    "decision_seed",
    "greedy",
    "heuristic_values",
    "minimax",
    "search",
]
