"""The rule by which a candidate is promoted."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ringrift.evaluation.match import MatchResult
from ringrift.evaluation.settings import GateSettings


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate passes, and why."""

    passes: bool
    reason: str
    """In words, with the figures."""
    match: MatchResult

    def to_dict(self) -> dict[str, object]:
        """For JSON, and as the evidence of a promotion."""
        return asdict(self)


def judge(match: MatchResult, settings: GateSettings) -> Verdict:
    """The rule: the candidate (A) wins at least `score` of the games against B, and the lower end of the score's
    interval lies above `above`.

    With the defaults, 0.55 and 0.5 at 95 %, an equal candidate passes about once in 40 times; 100 games ask for about
    60 wins.
    """
    enough, clear = match.score >= settings.score, match.interval[0] > settings.above or settings.above == 0
    low, high = match.interval
    said = f"{match.score:.3f} in {match.games} games against {match.b}, interval {low:.3f}–{high:.3f}"
    if not enough:
        return Verdict(False, f"{said}: below {settings.score:g}", match)
    if not clear:
        return Verdict(False, f"{said}: not clearly above {settings.above:g}", match)
    return Verdict(True, f"{said}: at least {settings.score:g}, and above {settings.above:g} at its lower end", match)
