"""The lab, ``/lab`` of ``touchline demo``: a match to play with, faults, and figures measured here."""
