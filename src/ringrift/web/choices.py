"""Choices inside a turn that the game server asks for apart. They come without a state, so they go by what the options
tell; an option is answered exactly as it came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, Field

from ringrift.web.errors import Refused, misfit
from ringrift.web.reading import AiType, BodyRoute, Level, example
from ringrift.web.service import LEVEL_TYPES, Service

LineReward = Literal["option_1_collapse_all_and_eliminate", "option_2_min_collapse_no_elimination"]
Option = TypeVar("Option")
_Object = dict[str, Any]
LARGEST = 10_000  #: more than any count and any coordinate of a game


class ChoiceRequest(BaseModel, Generic[Option]):
    """Options of a choice, in snake case or camel case."""

    options: list[Option] = Field(max_length=1000)
    player_number: int = Field(ge=1, le=4, validation_alias=AliasChoices("player_number", "playerNumber"))
    game_state: _Object | None = Field(None, validation_alias=AliasChoices("game_state", "gameState"))
    difficulty: Level = 5
    ai_type: AiType | None = Field(None, validation_alias=AliasChoices("ai_type", "aiType"))


class LineRewardRequest(ChoiceRequest[LineReward]):
    """The rewards that are offered for a line."""

    model_config = example(options=["option_2_min_collapse_no_elimination"], playerNumber=1)


class OptionRequest(ChoiceRequest[_Object]):
    """The options of any other choice."""

    model_config = example(options=[{"lineId": "1", "markerPositions": [{"x": 0, "y": 3}]}], playerNumber=1)


def _number(option: _Object, name: str) -> float:
    """A number of an option; 0 where it has none. Raises `Refused` (422) for one that is no count and no cell."""
    found = option.get(name)
    if not isinstance(found, int | float):
        return 0.0
    if abs(found) >= LARGEST:
        raise misfit(("options",), f"{name} is less than {LARGEST:,}")
    return float(found)


def _cell(option: _Object, name: str) -> tuple[float, float]:
    found = option.get(name)
    return (_number(found, "x"), _number(found, "y")) if isinstance(found, dict) else (0.0, 0.0)


def line_reward(options: Sequence[str]) -> str:
    """The one that costs no ring, where it is offered."""
    free: str = "option_2_min_collapse_no_elimination"
    return free if free in options or not options else options[0]


def cheapest_ring(options: Sequence[_Object]) -> _Object:
    """The smallest cap, and of these the lowest stack."""
    return min(options, key=lambda option: (_number(option, "capHeight"), _number(option, "totalHeight")))


def largest_region(options: Sequence[_Object]) -> _Object:
    """The largest region; passing only where there is no other."""
    return max(options, key=lambda option: (option.get("regionId") != "skip", _number(option, "size")))


def longest_line(options: Sequence[_Object]) -> _Object:
    """The line with the most markers."""
    return max(
        options, key=lambda option: len(found) if isinstance(found := option.get("markerPositions"), list) else 0
    )


def richest_capture(options: Sequence[_Object]) -> _Object:
    """The highest cap, and of these the landing nearest to the first option's."""
    x, y = _cell(options[0], "landingPosition")

    def worth(option: _Object) -> tuple[float, float]:
        to = _cell(option, "landingPosition")
        return _number(option, "capturedCapHeight"), -abs(to[0] - x) - abs(to[1] - y)

    return max(options, key=worth)


NOWHERE: _Object = {"regionId": "0", "size": 0, "representativePosition": {"x": 0, "y": 0}}
#: By kind: how it is chosen, and what is answered where there are no options; None: a refusal.
CHOICES: dict[str, tuple[Callable[[Sequence[_Object]], _Object], _Object | None]] = {
    "ring_elimination": (cheapest_ring, None),
    "region_order": (largest_region, NOWHERE),
    "line_order": (longest_line, None),
    "capture_direction": (richest_capture, None),
}


def router(_service: Service) -> APIRouter:
    """`/ai/choice/<kind>`."""
    routes = APIRouter(prefix="/ai/choice", tags=["choices"], route_class=BodyRoute)

    @routes.post("/line_reward_option")
    def line_reward_option(body: LineRewardRequest) -> dict[str, Any]:
        """Which reward to take for a line that is longer than it has to be."""
        return _answer(body, line_reward(body.options))

    def add(kind: str, choose: Callable[[Sequence[_Object]], _Object], nothing: _Object | None) -> None:
        @routes.post(f"/{kind}", name=kind, description=choose.__doc__)
        def choice(body: OptionRequest) -> dict[str, Any]:
            if not body.options and nothing is None:
                raise Refused(400, f"{kind} choice has no options")
            return _answer(body, choose(body.options) if body.options else nothing)

    for kind, (choose, nothing) in CHOICES.items():
        add(kind, choose, nothing)
    return routes


def _answer(body: ChoiceRequest[Any], selected: object) -> dict[str, Any]:
    ai_type = body.ai_type or LEVEL_TYPES[body.difficulty - 1]
    return {"selectedOption": selected, "aiType": ai_type, "difficulty": body.difficulty}
