"""Certificates for tests, made by openssl: an authority of their own, and servers that it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from testkit.services.process import require_program

__all__ = ["Authority", "Certificate"]


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the certificate with what comes after it in the chain, and its key."""

    chain: Path
    key: Path


class Authority:
    """Issues certificates. ``root`` is what a client has to trust; servers are issued by an intermediate."""

    def __init__(self, directory: Path) -> None:
        self._openssl = require_program("openssl")
        self._directory = directory
        directory.mkdir(exist_ok=True)
        self.root = directory / "root.pem"
        constraints = "basicConstraints=critical,CA:TRUE"
        self._run(
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=root"
            f" -keyout {directory}/root.key -out {self.root}"
        )
        self._issue("between", f"-subj /CN=between -addext {constraints}", self.root, "root", 365)

    def certificate(
        self, name: str, *, host: str = "localhost", days: int = 90, whole: bool = True
    ) -> Certificate:
        """A server's certificate.

        Args:
            name: of its files.
            host: whom it is for.
            days: how long it lasts; negative: until so many days ago.
            whole: whether the intermediate comes after it in the file.
        """
        between = self._directory / "between.pem"
        self._issue(name, f"-subj /CN={host} -addext subjectAltName=DNS:{host}", between, "between", days)
        path = self._directory / f"{name}.pem"
        chain = self._directory / f"{name}-chain.pem"
        chain.write_text(path.read_text() + (between.read_text() if whole else ""))
        return Certificate(chain, self._directory / f"{name}.key")

    def self_signed(self, name: str) -> Certificate:
        """A certificate for localhost that nobody vouches for."""
        path, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        self._run(
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=localhost"
            f" -addext subjectAltName=DNS:localhost -keyout {key} -out {path}"
        )
        return Certificate(path, key)

    def _issue(self, name: str, request: str, issuer: Path, issuer_key: str, days: int) -> None:
        at = self._directory / name
        self._run(
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes {request}"
            f" -keyout {at}.key -out {at}.csr"
        )
        # openssl x509 has no start date before 3.4, and ends one that lasts a negative time in the past.
        self._run(
            f"x509 -req -in {at}.csr -CA {issuer} -CAkey {self._directory}/{issuer_key}.key -days {days}"
            f" -copy_extensions copy -out {at}.pem"
        )

    def _run(self, arguments: str) -> None:
        subprocess.run([self._openssl, *arguments.split()], check=True, capture_output=True)
