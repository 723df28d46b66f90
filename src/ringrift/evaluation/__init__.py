"""How strong: matches with seats and openings shared, sequential tests, ratings, and the rule of promotion."""

from ringrift.evaluation.gauntlet import Hurdle, Verdict, decide, gauntlet
from ringrift.evaluation.kept import GameResult
from ringrift.evaluation.match import MatchResult, Plan, Tally, match, planned_games
from ringrift.evaluation.ratings import Played, Pool, Rating, next_pairs, rate, read_anchors, read_pool
from ringrift.evaluation.regression import Check, Finding, Grade, assess
from ringrift.evaluation.settings import GateSettings, MatchSettings, ProgressSettings, RegressionSettings
from ringrift.evaluation.sprt import Sprt
from ringrift.evaluation.statistics import elo, score_interval
from ringrift.evaluation.velocity import Slope, Strength, Velocity, is_plateau, velocity

__all__ = [
    "Check",
    "Finding",
    "GameResult",
    "GateSettings",
    "Grade",
    "Hurdle",
    "MatchResult",
    "MatchSettings",
    "Plan",
    "Played",
    "Pool",
    "ProgressSettings",
    "Rating",
    "RegressionSettings",
    "Slope",
    "Sprt",
    "Strength",
    "Tally",
    "Velocity",
    "Verdict",
    "assess",
    "decide",
    "elo",
    "gauntlet",
    "is_plateau",
    "match",
    "next_pairs",
    "planned_games",
    "rate",
    "read_anchors",
    "read_pool",
    "score_interval",
    "velocity",
]
