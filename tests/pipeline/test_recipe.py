"""The settings of all stages."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from ringrift.pipeline.settings import Recipe
from ringrift.web.settings import ServeSettings


def amounts(settings: Any, name: str) -> Iterator[Any]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            yield from amounts(value, f"{name}{field.name}.")
        elif isinstance(value, float):
            yield pytest.param(settings, field.name, id=f"{name}{field.name}")


@pytest.mark.parametrize(("settings", "name"), [*amounts(Recipe(), ""), *amounts(ServeSettings(), "serve.")])
def test_no_amount_may_be_no_number(settings: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        replace(settings, **{name: math.nan})
