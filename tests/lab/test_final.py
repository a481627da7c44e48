"""The simulated final: one run of fixed inputs, whoever asks."""

from __future__ import annotations

from origin.lab import final


def test_the_final_is_simulated_once_with_fixed_inputs() -> None:
    outcome = final.simulated_final()
    assert final.simulated_final() is outcome
    assert outcome["plan"]["inputs"]["viewers"] == final.INPUTS["viewers"] == 50_000_000
    hops = outcome["results"]["streams"]["hops"]
    times = [hop["done_ms"] for hop in hops]
    assert times == sorted(times)
    assert len(times) == 4
