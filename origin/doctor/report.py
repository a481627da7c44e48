"""What an examination finds: each finding with its severity, what was seen, and what to change."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shared_state.jsontext import JsonObject

__all__ = ["Finding", "Report", "Severity", "printable"]

_TEXT_MAX_CHARS = 400


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"  #: readers miss something, or see something wrong
    WARNING = "warning"  #: it works, and costs time, traffic or safety


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: stable, for programs: ``stream_buffered``.
        severity: see ``Severity``.
        url: the address at which it was seen.
        seen: what was seen, one sentence.
        change: what to change, with the lines of nginx or Varnish where they are known.
    """

    code: str
    severity: Severity
    url: str
    seen: str
    change: str

    def to_json(self) -> JsonObject:
        """The finding as ``--json`` prints it."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "url": printable(self.url),
            "seen": printable(self.seen),
            "change": self.change,
        }


@dataclass(slots=True)
class Report:
    """An examination.

    Attributes:
        findings: what is wrong, errors first once ``sort`` was called. One finding for each code and address.
        not_examined: what could not be looked at, and why.
        asked: how many requests were made.
    """

    findings: list[Finding] = field(default_factory=list)
    not_examined: list[str] = field(default_factory=list)
    asked: int = 0

    def error(self, code: str, url: str, seen: str, change: str) -> None:
        """Add a finding that readers suffer from."""
        self._add(Finding(code, Severity.ERROR, url, seen, change))

    def warning(self, code: str, url: str, seen: str, change: str) -> None:
        """Add a finding that costs time, traffic or safety."""
        self._add(Finding(code, Severity.WARNING, url, seen, change))

    def skip(self, what: str) -> None:
        """Say that something could not be looked at."""
        if what not in self.not_examined:
            self.not_examined.append(what)

    def take(self, other: Report) -> None:
        """Add all of another report."""
        for finding in other.findings:
            self._add(finding)
        for what in other.not_examined:
            self.skip(what)
        self.asked += other.asked

    def sort(self) -> None:
        """Errors first; within a severity in the order in which they were found."""
        self.findings.sort(key=lambda finding: finding.severity != Severity.ERROR)

    @property
    def has_errors(self) -> bool:
        """Whether a finding is of severity ``error``."""
        return any(finding.severity == Severity.ERROR for finding in self.findings)

    def to_json(self) -> JsonObject:
        """The report as ``--json`` prints it."""
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "not_examined": [printable(what) for what in self.not_examined],
            "asked": self.asked,
        }

    def _add(self, finding: Finding) -> None:
        # The same mistake shows at many addresses; one of them is enough to mend it.
        if all(finding.code != known.code for known in self.findings):
            self.findings.append(finding)


def printable(text: str) -> str:
    """A text that a server had a say in, safe for a terminal and cut to a length that fits a line or two."""
    cut = text if len(text) <= _TEXT_MAX_CHARS else text[: _TEXT_MAX_CHARS - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in cut)
