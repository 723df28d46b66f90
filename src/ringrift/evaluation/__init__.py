"""How strong: matches with seats and openings shared, intervals, and the rule of promotion."""

from ringrift.evaluation.gate import Verdict, judge
from ringrift.evaluation.match import GameResult, MatchResult, match
from ringrift.evaluation.settings import GateSettings, MatchSettings
from ringrift.evaluation.statistics import elo, score_interval

__all__ = [
    "GameResult",
    "GateSettings",
    "MatchResult",
    "MatchSettings",
    "Verdict",
    "elo",
    "judge",
    "match",
    "score_interval",
]
