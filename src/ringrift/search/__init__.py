"""Searches: thin wrappers over the trees in the core. Needs numpy alone."""

from ringrift.search.heuristic import HEURISTIC_TABLE, HeuristicRow, greedy, heuristic_values
from ringrift.search.settings import GumbelSettings, PuctSettings, SearchEconomy, TreeMemory, TreeSettings
from ringrift.search.tree import FinishedGame, Searcher, SearchResult, SelfplayPool, decision_seed, search

__all__ = [
    "HEURISTIC_TABLE",
    "FinishedGame",
    "GumbelSettings",
    "HeuristicRow",
    "PuctSettings",
    "SearchEconomy",
    "SearchResult",
    "Searcher",
    "SelfplayPool",
    "TreeMemory",
    "TreeSettings",
    "decision_seed",
    "greedy",
    "heuristic_values",
    "search",
]
