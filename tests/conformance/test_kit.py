"""The conformance kit: the reference client passes, and clients with one fault each are found out."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from testkit.conformance.__main__ import main, try_client
from testkit.conformance.cases import CASES
from testkit.conformance.server import REQUESTS_MAX, Kit, running

REFERENCE = [sys.executable, "-m", "testkit.conformance.reference_client"]
START = "import sys, testkit.conformance.reference_client as c; from shared_state import Receipt, Replica; "
END = "; sys.exit(c.main(sys.argv[1:]))"
# Each with the case that has to find it.
FAULTS = {
    "only-the-snapshot": ("cut", "c.Client.stream = c.Client.load"),
    "believes-a-stale-snapshot": ("stale-snapshot", "c.Client._hear = lambda self, id_: None"),
    "ignores-the-hash": ("hash", "Replica.check = lambda self, head, hash_: Receipt.IN_STEP"),
    "applies-over-a-hole": (
        "hole",
        "Replica.receive = lambda self, delta: (setattr(self, 'position', delta.id), Receipt.APPLIED)[1]",
    ),
    "never-waits": ("full", "c.Client._wait = lambda self, answer: None"),
    "no-snapshot-at-a-gap": (
        "gap",
        "take = c.Client._take; c.Client._take = lambda self, e: None if e.event == 'gap' else take(self, e)",
    ),
    "prints-nothing": ("plain", "print = c.print = lambda *a: None"),
}


@pytest.fixture(scope="module")
def kit() -> Iterator[Kit]:
    with running() as kit:
        yield kit


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_reference_client_passes(kit: Kit, case: object) -> None:
    (chosen,) = [one for one in CASES if one is case]
    assert try_client(kit, chosen, REFERENCE).faults == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_client_with_a_fault_is_found_out(kit: Kit, name: str) -> None:
    case_name, change = FAULTS[name]
    (case,) = [one for one in CASES if one.name == case_name]
    assert try_client(kit, case, [sys.executable, "-c", START + change + END]).faults


def test_the_command_says_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    client = f"{sys.executable} -c 'print(1)'"
    assert main(["--client", client, "--case", "plain"]) == 1
    said = capsys.readouterr().out
    assert "FAILED  plain" in said
    assert "no JSON object: '1'" in said
    assert "0 of 1 passed" in said


def test_a_client_in_a_loop_is_stopped(kit: Kit) -> None:
    case = CASES[0]
    kit.begin(case)
    path = f"/{case.name}/stream/{case.match.match_id}"
    assert {kit.answer(path, None).status for _ in range(REQUESTS_MAX)} == {200}
    assert kit.answer(path, None).status == 429
