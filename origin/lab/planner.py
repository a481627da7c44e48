"""The capacity planner over JSON: ``origin.capacity.model`` with inputs that come from a page."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from origin.errors import RequestError
from shared_state.jsontext import Json, JsonObject

__all__ = ["inputs", "is_available", "plan"]

# By name: what the page needs is checked here, once, instead of failing in the middle of an answer.
_NEEDED: Final = ("BOUNDS", "Inputs", "InvalidInput", "TooTight", "plan")


def is_available() -> bool:
    """Whether this build's model plans all tiers, and not the stream tier alone."""
    model = import_module("origin.capacity.model")
    return all(hasattr(model, name) for name in _NEEDED)


def inputs() -> JsonObject:
    """The default inputs with their bounds; constants with unit, source and meaning.

    Raises:
        RequestError: 501 the model of this build plans the stream tier alone.
    """
    model = _model()
    given: JsonObject = model.Inputs().to_json()
    bounds = {name: [bound.low, bound.high] for name, bound in model.BOUNDS.items()}
    return {"inputs": given, "bounds": bounds}


def plan(given: Json) -> JsonObject:
    """A plan.

    Args:
        given: some or all of the inputs, and ``constants`` by name.

    Raises:
        RequestError: 400 a name or a value is none that there is, or no number of machines meets it; 501 the
            model of this build plans the stream tier alone.
    """
    model = _model()
    try:
        made: JsonObject = model.plan(model.Inputs.from_json(given)).to_json()
    except (model.InvalidInput, model.TooTight) as error:
        raise RequestError(400, "invalid_input", str(error)) from None
    return made


def _model() -> Any:
    if not is_available():
        raise RequestError(501, "no_planner", "the capacity model of this build plans the stream tier alone")
    return import_module("origin.capacity.model")
