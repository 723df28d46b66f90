"""Searches: thin wrappers over the trees in the core. Needs numpy alone."""

from ringrift.search.gumbel import FinishedGame, SearchResult, SelfplayPool, search
from ringrift.search.heuristic import HEURISTIC_TABLE, HeuristicRow, greedy, heuristic_values
from ringrift.search.settings import GumbelSettings

__all__ = [
    "HEURISTIC_TABLE",
    "FinishedGame",
    "GumbelSettings",
    "HeuristicRow",
    "SearchResult",
    "SelfplayPool",
    "greedy",
    "heuristic_values",
    "search",
]
