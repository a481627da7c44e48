"""The capacity planner over JSON: ``origin.capacity.model`` with inputs that come from a page."""

from __future__ import annotations

from origin.capacity import model
from origin.errors import RequestError
from shared_state.jsontext import Json, JsonObject

__all__ = ["inputs", "plan"]


def inputs() -> JsonObject:
    """The default inputs with their bounds; constants with unit, source and meaning."""
    given: JsonObject = model.Inputs().to_json()
    bounds = {name: [bound.low, bound.high] for name, bound in model.BOUNDS.items()}
    return {"inputs": given, "bounds": bounds}


def plan(given: Json) -> JsonObject:
    """A plan.

    Args:
        given: some or all of the inputs, and ``constants`` by name.

    Raises:
        RequestError: 400 a name or a value is none that there is, or no number of machines meets it.
    """
    try:
        made: JsonObject = model.plan(model.Inputs.from_json(given)).to_json()
    except (model.InvalidInput, model.TooTight) as error:
        raise RequestError(400, "invalid_input", str(error)) from None
    return made
