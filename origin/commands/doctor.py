"""``touchline doctor``: what is wrong with a set-up, seen from outside (docs/doctor.md)."""

from __future__ import annotations

import sys

import click

from origin.commands.files import output
from origin.commands.working import Seconds, certificates
from origin.doctor.examine import examine
from origin.doctor.probe import NotAnswered
from origin.doctor.report import Report, printable
from shared_state.jsontext import compact

__all__ = ["CouldNotAsk", "command"]


class CouldNotAsk(click.ClickException):
    """The site could not be asked at all."""

    exit_code = 2


@click.command("doctor")
@click.argument("url")
@click.option(
    "--match",
    "match_id",
    default="",
    metavar="ID",
    help="A match; without it the first of the list, running ones first.",
)
@click.option(
    "--origin", default="", metavar="URL", help="The origin's own address, to compare headers with."
)
@click.option(
    "--page", default="", metavar="URL", help="A page on another site that shows matches of this one."
)
@certificates
@click.option(
    "--listen",
    "listen_s",
    default=20.0,
    show_default=True,
    type=Seconds(1, 300),
    help="Seconds to listen to a stream: longer than a heartbeat (15).",
)
@click.option(
    "--timeout",
    "timeout_s",
    default=10.0,
    show_default=True,
    type=Seconds(0.5, 60),
    help="Seconds for each other answer.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def command(
    url: str,
    match_id: str,
    origin: str,
    page: str,
    ca_file: str,
    listen_s: float,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Examine the set-up that serves URL, the address of the site or of a match's page.

    Exit code 0: no finding is an error; 1: one is; 2: the site could not be asked.
    """
    try:
        report = examine(
            url,
            match_id=match_id,
            origin=origin,
            page=page,
            ca_file=ca_file,
            listen_s=listen_s,
            timeout_s=timeout_s,
        )
    except (NotAnswered, ValueError) as error:
        raise CouldNotAsk(printable(str(error))) from None
    with output() as out:
        text = compact(report.to_json()) if as_json else _text(report)
        out.write(text.encode("utf-8") + b"\n")
    sys.exit(1 if report.has_errors else 0)


def _text(report: Report) -> str:
    """For people: each finding as what was seen, where, and what to change."""
    lines: list[str] = []
    for finding in report.findings:
        lines += [
            f"{finding.severity.value}: {finding.code}: {printable(finding.seen)}",
            f"    at      {printable(finding.url)}",
            f"    change  {finding.change}",
            "",
        ]
    lines += [f"not examined: {printable(what)}" for what in report.not_examined]
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = len(report.findings) - errors
    verdict = f"{errors} errors, {warnings} warnings" if report.findings else "nothing is wrong"
    lines.append(f"{verdict}; {report.asked} requests")
    return "\n".join(lines)
