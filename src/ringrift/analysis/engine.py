"""The analysis engine: queries as lines of JSON in, answers as lines of JSON out; docs/analysis.md has the protocol.

Queries wait in a queue; those of one config and budget are searched together, so that they share the network's calls.
"""

from __future__ import annotations

import json
import queue
import re
import reprlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import ringrift
from ringrift.analysis.analysis import AnalysisSettings, analyse
from ringrift.errors import RingRiftError, RulesError, unknown
from ringrift.evaluators import Evaluator
from ringrift.players import Limit
from ringrift.rules import Game

LONGEST_SECONDS = 86_400.0  #: that a query may ask for
#: An id as it stands in a line that cannot be read whole.
WRITTEN_ID = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d{1,18}\b)')
#: Keys of a query and the type of each.
KEYS: dict[str, tuple[type, ...]] = {
    "id": (str, int),
    "config": (str,),
    "position": (str,),
    "moves": (list,),
    "simulations": (int,),
    "seconds": (int, float),
    "top": (int,),
    "priority": (int,),
}


@dataclass(frozen=True)
class Query:
    """One position that is asked about."""

    id: str | int
    game: Game
    limit: Limit
    top: int
    """so many moves are told of; 0: all that were visited"""
    priority: int = 0
    """queries of a higher one are answered first"""

    @classmethod
    def parse(cls, given: dict[str, Any]) -> Query:
        """Raises `RulesError` for what is no query: the sentence is the answer."""
        for key, value in given.items():
            if key not in KEYS:
                raise RulesError(unknown("key", key, KEYS))
            if type(value) not in KEYS[key]:
                raise RulesError(
                    f"{key} is {reprlib.repr(value)}; right is {' or '.join(kind.__name__ for kind in KEYS[key])}"
                )
        if "id" not in given:
            raise RulesError("a query needs an id, to be told apart by")
        if ("config" in given) == ("position" in given):
            raise RulesError("a query has either a config, to begin at its start, or a position text")
        game = Game.parse(given["position"]) if "position" in given else Game(given["config"])
        for move in given.get("moves", []):
            if type(move) is not str:
                raise RulesError(f"moves has {reprlib.repr(move)}; right are move texts")
            game.push(move)
        if game.is_over:
            raise RulesError("the game is over: there is nothing to analyse")
        if (top := given.get("top", 0)) < 0:
            raise RulesError(f"top is {top}; 0 or more is right")
        limit = Limit(given.get("simulations"), given.get("seconds"))
        if limit.simulations is not None and limit.simulations > 1_000_000:
            raise RulesError(f"simulations is {limit.simulations}; 1 to 1000000 is right")
        if limit.seconds is not None and limit.seconds > LONGEST_SECONDS:
            raise RulesError(f"seconds is {limit.seconds}; up to {LONGEST_SECONDS:.0f} is right")
        return cls(given["id"], game, limit, top, given.get("priority", 0))


class Engine:
    """Answers queries until there are no more."""

    def __init__(
        self,
        evaluators: Callable[[str], Evaluator],
        settings: AnalysisSettings = AnalysisSettings(),
        together: int = 32,
    ) -> None:
        """`evaluators` gives the evaluator of a config; up to `together` queries are searched at a time."""
        self.evaluators, self.settings, self.together = evaluators, settings, together
        self._waiting: list[Query] = []
        self._known: dict[str, Evaluator] = {}

    def run(self, lines: Iterable[str], write: Callable[[str], object]) -> None:
        """Answers every line with one line, in whatever order they get ready; returns when `lines` are all answered."""
        arriving: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        failed: list[OSError | ValueError] = []

        def read() -> None:
            try:
                for line in lines:
                    arriving.put(line)
            except (
                OSError,
                ValueError,
            ) as error:  # a device or text that cannot be read: the end, once all is answered
                failed.append(error)
            arriving.put(None)

        threading.Thread(target=read, daemon=True).start()

        def tell(answer: dict[str, Any]) -> None:
            write(json.dumps(answer, separators=(",", ":")) + "\n")

        more = True
        while more or self._waiting:
            while more and not (self._waiting and arriving.empty()):
                if (line := arriving.get()) is None:
                    more = False
                elif line.strip():
                    self._take(line, tell)
            if self._waiting:
                self._answer(self._next(), tell)
        if failed:
            raise failed[0]

    def _take(self, line: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Queues a query, or answers a line that is none."""
        given: Any = None
        try:
            given = json.loads(line, parse_int=_whole)
            if not isinstance(given, dict):
                raise RulesError("a query is a JSON object, with an id and a config or position")
            if "action" in given:
                tell(self._act(given))
            else:
                self._waiting.append(Query.parse(given))
        except (RingRiftError, ValueError, RecursionError) as error:
            known = given.get("id") if isinstance(given, dict) else written_id(line) if given is None else None
            tell({"id": known if isinstance(known, str | int) else None, "error": str(error)})

    def _act(self, given: dict[str, Any]) -> dict[str, Any]:
        """What an action answers."""
        head = {key: given[key] for key in ("id", "action") if key in given}
        if given["action"] == "version":
            return head | {"version": ringrift.__version__}
        if given["action"] == "terminate":
            left = [query for query in self._waiting if query.id != given.get("id")]
            self._waiting, ended = left, len(self._waiting) - len(left)
            return head | {"terminated": ended}
        raise RulesError(unknown("action", reprlib.repr(given["action"]), ("version", "terminate")))

    def _next(self) -> list[Query]:
        """The queries that are searched next, taken out of the queue: the most urgent one and what fits beside it."""
        self._waiting.sort(key=lambda query: -query.priority)  # stable: first come, first served
        first = self._waiting[0]
        alike = [q for q in self._waiting if (q.game.config, q.limit) == (first.game.config, first.limit)]
        chosen = alike[: self.together]
        taken = set(map(id, chosen))
        self._waiting = [query for query in self._waiting if id(query) not in taken]
        return chosen

    def _answer(self, queries: list[Query], tell: Callable[[dict[str, Any]], None]) -> None:
        config, limit = queries[0].game.config, queries[0].limit
        try:
            if config not in self._known:
                self._known[config] = self.evaluators(config)
            games = [query.game for query in queries]
            together = limit if limit.seconds is None else replace(limit, seconds=limit.seconds * len(games))
            found = analyse(games, self._known[config], self.settings, together)
        except (RingRiftError, OSError, MemoryError) as error:  # of these queries: the others are answered
            for query in queries:
                tell({"id": query.id, "error": str(error) or "there is not enough memory"})
            return
        for query, analysis in zip(queries, found, strict=True):
            told = analysis.to_dict()
            told["moves"] = told["moves"][: query.top or None]
            tell({"id": query.id} | told)


def _whole(text: str) -> int | float:
    """A whole number of JSON; one of absurd length as the float that it is near, which no key takes."""
    return int(text) if len(text) < 20 else float(text)


def written_id(line: str) -> str | int | None:
    """The id that is written in a line that is no JSON; None where there is none, or half of one."""
    found = WRITTEN_ID.search(line)
    try:
        known: str | int | None = json.loads(found[1]) if found else None
    except ValueError:
        return None
    return known
