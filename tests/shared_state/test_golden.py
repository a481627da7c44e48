"""The golden transcripts, as pytest runs them; the browser runs the same files (e2e)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from shared_state import (
    DeltaId,
    Event,
    Receipt,
    Replica,
    decode_delta,
    encode_delta,
    fold,
    match_hash,
    state_json,
)
from tests.golden.generate import GOLDEN, TRANSCRIPTS, text_of
from tests.reference_model import ReferenceModel

FILES = sorted(GOLDEN.glob("*.json"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def transcript(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def test_there_is_a_file_for_each_and_no_other() -> None:
    assert {path.stem for path in FILES} == set(TRANSCRIPTS)


@pytest.mark.parametrize("name", sorted(TRANSCRIPTS))
def test_files_are_what_the_script_writes(name: str) -> None:
    written = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    assert written == text_of(TRANSCRIPTS[name]), "run: .venv/bin/python -m tests.golden.generate"


def test_the_origin_publishes_these_bytes(transcript: dict[str, Any]) -> None:
    origin = Replica.begin(transcript["match_id"], transcript["epoch"])
    deltas = []
    for event, accepted_ms in zip(transcript["events"], transcript["accepted_ms"], strict=True):
        delta = origin.assign(Event.from_json(event), accepted_ms)
        if delta is not None:
            deltas.append({"id": str(delta.id), "data": encode_delta(delta).decode("utf-8")})
    assert deltas == transcript["deltas"]
    assert 0 < len(deltas) <= len(transcript["events"])
    assert_final(origin, transcript)


def test_a_viewer_ends_in_the_same_state(transcript: dict[str, Any]) -> None:
    viewer = Replica.begin(transcript["match_id"], transcript["epoch"])
    for sent in transcript["deltas"]:
        delta = decode_delta(transcript["match_id"], DeltaId.parse(sent["id"]), sent["data"])
        assert encode_delta(delta).decode("utf-8") == sent["data"]
        assert viewer.receive(delta) is Receipt.APPLIED
        viewer = Replica.restore(viewer.snapshot())  # at every id one could go on from a snapshot
    assert_final(viewer, transcript)


def test_any_order_and_the_reference_model_end_in_the_same_state(transcript: dict[str, Any]) -> None:
    events = [Event.from_json(event) for event in transcript["events"]]
    model = ReferenceModel(transcript["match_id"], transcript["events"])
    assert model.hash() == transcript["hash"]
    for seed in range(5):
        random.Random(seed).shuffle(events)
        match = fold(transcript["match_id"], events)
        assert state_json(match) == model.state()
        assert match_hash(match) == transcript["hash"]


def assert_final(replica: Replica, transcript: dict[str, Any]) -> None:
    assert replica.hash() == transcript["hash"]
    assert replica.match.score.to_json() == transcript["score"]
    assert replica.match.status == transcript["status"]


@pytest.mark.parametrize(
    ("name", "status", "score", "shootout"),
    [
        ("final_2018", "FT", (4, 2), None),
        ("shootout", "FT_PENS", (1, 1), (3, 2)),
        ("corrections", "SCHEDULED", (2, 2), None),
        ("award", "AWARDED", (0, 2), None),
        ("hostile_names", "SCHEDULED", (5, 4), None),
        ("unknown_types", "SCHEDULED", (0, 1), None),
        ("line_ups", "LIVE", (1, 0), None),
    ],
)
def test_how_it_ended(
    name: str, status: str, score: tuple[int, int], shootout: tuple[int, int] | None
) -> None:
    """Told by a person, so that the script cannot write a wrong result into its own file."""
    transcript = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    match = fold(transcript["match_id"], [Event.from_json(event) for event in transcript["events"]])
    assert (match.status, match.score, match.shootout) == (status, score, shootout)
