"""``touchline simulate-vendor``: a vendor on loopback that plays a real match and edits what it said."""

from __future__ import annotations

from random import Random
from typing import Final

import click

__all__ = ["command"]

# By vendor: the header of its key, and where the match is.
_FORMS: Final = {
    "api-football": ("x-apisports-key", ""),
    "football-data": ("X-Auth-Token", "/v4/matches/1"),
    "espn": ("x-api-key", "/scoreboard"),
    "stats-perform": ("x-api-key", "/match"),
}


@click.command("simulate-vendor")
@click.argument("vendor", type=click.Choice(sorted(_FORMS)))
@click.option(
    "--match", default="2018-final", show_default=True, type=click.Choice(["2018-final"]), help="The match."
)
@click.option("--port", default=9000, show_default=True, type=click.IntRange(0, 65535), help="On loopback.")
@click.option(
    "--seconds", default=120.0, show_default=True, type=click.FloatRange(1, 86_400),
    help="How long the match takes.",
)  # fmt: skip
@click.option("--seed", default=2018, show_default=True, type=int, help="Which edits come, and where.")
def command(vendor: str, match: str, port: int, seconds: float, seed: int) -> None:
    """Play a match as VENDOR answers it, with edits, until stopped.

    Its own key is printed; ``touchline ingest`` reads from it as from the vendor.
    """
    del match  # there is one so far
    from origin.feedworker.simulated_api_football import KEY, ApiFootball, final_2018, play

    final = final_2018()
    try:
        with ApiFootball(final, port=port) as server:
            header, path = _FORMS[vendor]
            click.echo(f"{server.url}{path}  {header}: {KEY}")
            play(server, final, seconds, Random(seed))  # noqa: S311  which edits come is no secret
            click.echo("the match is over")
            server.closing.wait()
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        return
