"""The capacity model against real runs: fit its parameters, run both, compare."""
