"""``python -m origin``: the ``touchline`` command where it is not on the path."""

from origin.cli import main

main(prog_name="touchline")
