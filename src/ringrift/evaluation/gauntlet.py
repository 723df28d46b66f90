"""The gauntlet of a candidate: the matches that it has to pass, stated before the first game, and the verdict.

Every match is a sequential test. The cheap ones come first, and the first that is lost ends it: gates against players
that never change, then the promoted model, then those before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from ringrift.evaluation.match import SEATINGS, MatchResult, openings, openings_hash, openings_needed
from ringrift.evaluation.settings import GateSettings, MatchSettings
from ringrift.evaluation.sprt import Sprt
from ringrift.evaluation.statistics import expected_score
from ringrift.rules import config_info
from ringrift.selfplay import derive_seed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

UNBEATEN = "initial"  #: who is the champion while nothing is promoted


def elo_of_share(share: float) -> float:
    """Elo per seat of somebody who wins that share of the games between two: 85 % are odds of 17 to 3, or 301 Elo."""
    return 400 * math.log10(share / (1 - share))


@cache
def _settings() -> TypeAdapter[MatchSettings | None]:
    from pydantic import TypeAdapter

    return TypeAdapter(MatchSettings | None)


@dataclass(frozen=True)
class Hurdle:
    """One match of a gauntlet."""

    name: str
    """`random`, `heuristic`, …; `best` for the promoted model, `initial` while there is none; `former-1` …"""
    opponent: str
    """A player, as matches name it."""
    games: int
    """At most."""
    lo: float
    """Elo per seat: the test's H0 …"""
    hi: float
    """… and H1."""
    least: float
    """Share of the games that is enough where the test is undecided at the end; 1: nothing is."""
    alpha: float
    beta: float
    seed: int
    openings_sha256: str
    """SHA-256 of the openings, in their order."""
    match: MatchSettings | None = None
    """Settings of matches when it was stated: they hold for it, whatever is set later."""

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """What `asdict` gave, perhaps by way of JSON."""
        return cls(**{**kept, "match": _settings().validate_python(kept.get("match"))})

    def settings(self, match: MatchSettings) -> MatchSettings:
        """Of its match, where others have `match`, which also says how many games are played at a time."""
        stated = replace(self.match or match, play=match.play)
        return replace(stated, games=self.games, sprt=(self.lo, self.hi), alpha=self.alpha, beta=self.beta)

    def judge(self, match: MatchResult, voids: float) -> tuple[bool, str]:
        """Whether the candidate passes with that match, and why, with the figures."""
        rows = SEATINGS[config_info(match.config).players]
        s0, s1 = (expected_score(elo, rows) for elo in (self.lo, self.hi))
        found = Sprt(self.lo, self.hi, s0, s1, self.alpha, self.beta).verdict(match.counts) if match.games else "none"
        said = f"{match.score:.3f} in {match.games} games against {match.b}"
        test = f"the test of {self.lo:+.0f} against {self.hi:+.0f} Elo"
        if match.voids[0] > voids * (match.games + sum(match.voids)):
            return False, f"{said}, and made {match.voids[0]} games void, of which {voids:.0%} are tolerated"
        if found in ("H0", "H1"):
            return found == "H1", f"{said}: {test} found {found}"
        passes = match.score >= self.least
        bar = "which asks for a decision" if self.least >= 1 else f"where {self.least:.3f} is enough"
        return passes, f"{said}: {test} is undecided, {bar}"


@dataclass(frozen=True)
class Verdict:
    """What is known of a candidate by the matches that were played."""

    passes: bool
    reason: str
    """Why it passes or not, in words, with the figures."""
    gauntlet: tuple[Hurdle, ...]
    matches: dict[str, MatchResult | None]
    """The match at each hurdle, by the hurdle's name; None for one that could not be played."""
    next: Hurdle | None = None
    """What has to be played before there is a verdict."""

    @property
    def over(self) -> str | None:
        """The promoted model that the candidate was measured with; None while there is none."""
        return next((one.opponent for one in self.gauntlet if one.name == "best"), None)

    def to_dict(self) -> dict[str, object]:
        """The verdict as JSON can hold it, and as the evidence of a promotion."""
        return asdict(self)


def gauntlet(
    config: str,
    settings: GateSettings,
    match: MatchSettings,
    *,
    champions: Sequence[str] = (),
    promotions: int = 0,
    seed: int = 0,
) -> tuple[Hurdle, ...]:
    """The matches of a candidate, in their order.

    `champions`: the promoted model, then those before it; of these `settings.former` are met. `promotions`: how many
    there were. `seed`: of the openings, another for each candidate.
    """
    rows = SEATINGS[config_info(config).players]

    def hurdle(name: str, opponent: str, games: int, ends: tuple[float, float], least: float) -> Hurdle:
        own = derive_seed(seed, "gauntlet", name, opponent)
        digest = openings_digest(config, own, replace(match, games=games))
        return Hurdle(name, opponent, games, *ends, least, settings.alpha, settings.beta, own, digest, match)

    def all_of_them() -> Iterator[Hurdle]:
        for name, share in settings.gates.items():
            elo = elo_of_share(share)
            ends = round(elo - settings.margin, 1), round(elo + settings.margin, 1)
            yield hurdle(name, name, settings.gate_games, ends, round(expected_score(elo, rows), 4))
        mature = promotions >= settings.mature_after
        ends, games = (settings.mature, settings.mature_games) if mature else (settings.early, settings.games)
        yield hurdle("best" if champions else UNBEATEN, champions[0] if champions else UNBEATEN, games, ends, 1.0)
        for number, former in enumerate(champions[1 : settings.former + 1], 1):
            yield hurdle(f"former-{number}", former, settings.games, (-settings.worse, 0.0), 0.0)

    return tuple(all_of_them())


def openings_digest(config: str, seed: int, match: MatchSettings) -> str:
    """SHA-256 of the openings that a match will have."""
    return openings_hash(islice(openings(config, seed, match, None), openings_needed(config, match)))


def decide(plan: Sequence[Hurdle], results: Mapping[str, MatchResult | None], voids: float = 1.0) -> Verdict:
    """The verdict by the results so far, or which match is next.

    `results`: by name of the hurdle; None for a match that could not be played to its end, with which nobody passes.
    One of other openings than were stated is as good as not played. `voids`: share of the games that the candidate may
    have made void by its own fault.
    """
    said, seen = list[str](), dict[str, MatchResult | None]()
    for hurdle in plan:
        result = results.get(hurdle.name)
        if hurdle.name not in results or (result and result.openings_sha256 != hurdle.openings_sha256):
            return Verdict(False, "; ".join(said), tuple(plan), seen, hurdle)
        seen[hurdle.name] = result
        lost = f"its match against {hurdle.opponent} could not be played to its end"
        passes, reason = (False, lost) if result is None else hurdle.judge(result, voids)
        if not passes:
            return Verdict(False, reason, tuple(plan), seen)
        said.append(reason)
    return Verdict(True, "; ".join(said), tuple(plan), seen)
