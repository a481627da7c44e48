"""TLS: the certificate, the versions, and whether browsers get HTTP/2."""

from __future__ import annotations

import ssl
import time
import warnings
from typing import Final

from origin.doctor.probe import NotAnswered, Probe, Target
from origin.doctor.report import Report

__all__ = ["examine_tls"]

#: A certificate that ends sooner is a warning, days: who renews by machine does so at 30.
EXPIRES_SOON_DAYS: Final = 10
# Of OpenSSL, X509_V_ERR_…
_EXPIRED, _NOT_YET, _WRONG_NAME = 10, 9, 62
_CHAIN: Final = {18: "it is signed by itself", 19: "its chain ends in a certificate that nobody trusts",
                 20: "its issuer is not known: an intermediate certificate is missing, or nobody trusts the"
                 " issuer",
                 21: "its chain is incomplete"}  # fmt: skip


def examine_tls(probe: Probe, url: str, report: Report) -> None:
    """Judge the TLS of an address; afterwards ``probe`` asks without verifying if the certificate is bad.

    Raises:
        NotAnswered: nobody listens, or there is no TLS there.
    """
    target = Target.of(url)
    report.asked += 1
    context = probe.context(verify=True)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with probe.connect(target, context) as connection:
            assert isinstance(connection, ssl.SSLSocket)  # noqa: S101
            _judge_end(connection, url, report)
            protocol = connection.selected_alpn_protocol()
    except ssl.SSLCertVerificationError as error:
        _judge_certificate(error, target, url, report)
        probe.verify = False
        protocol = _protocol_unverified(probe, target)
    except ssl.SSLError as error:
        raise NotAnswered(f"{target.authority}: TLS failed: {error}") from None
    if protocol != "h2":
        report.warning(
            "no_http2",
            url,
            "browsers get HTTP/1.1 only: at most six connections to this host for all tabs together, and a"
            " stream"
            " keeps one of them",
            "nginx: listen 443 ssl http2;   (1.25.1 and later: http2 on;)   Varnish: -p feature=+http2, and"
            " alpn-protos = \"h2, http/1.1\" in hitch in front of it",
        )  # fmt: skip
    _judge_old_versions(probe, target, url, report)


def _judge_end(connection: ssl.SSLSocket, url: str, report: Report) -> None:
    certificate = connection.getpeercert() or {}
    not_after = certificate.get("notAfter")
    if not isinstance(not_after, str):
        return
    left_days = (ssl.cert_time_to_seconds(not_after) - time.time()) / 86_400
    if left_days < EXPIRES_SOON_DAYS:
        report.warning(
            "certificate_ends_soon",
            url,
            f"the certificate ends in {left_days:.1f} days, on {not_after}",
            "renew it, and look why that did not happen by itself (certbot renew --dry-run); nginx has to be"
            " reloaded afterwards",
        )


def _judge_certificate(error: ssl.SSLCertVerificationError, target: Target, url: str, report: Report) -> None:
    code = error.verify_code
    if code in (_EXPIRED, _NOT_YET):
        when = "has expired" if code == _EXPIRED else "is not valid yet (or this machine's clock is wrong)"
        report.error(
            "certificate_expired", url, f"the certificate {when}: {error.verify_message}",
            "renew it and reload the server: nginx -s reload",
        )  # fmt: skip
    elif code == _WRONG_NAME or "mismatch" in (error.verify_message or "").lower():
        report.error(
            "certificate_name", url, f"the certificate is not for {target.host}: {error.verify_message}",
            f"get one that has {target.host} in its subjectAltName; if several sites share the address, nginx"
            f" needs a server block with: server_name {target.host};",
        )  # fmt: skip
    else:
        why = _CHAIN.get(code, error.verify_message or str(error))
        report.error(
            "certificate_chain", url, f"the certificate is not trusted: {why}",
            "nginx: ssl_certificate must be a file with the certificate first and the intermediate ones"
            " after it"
            " (fullchain.pem, not cert.pem); for an authority of your own: touchline doctor --ca FILE",
        )  # fmt: skip


def _protocol_unverified(probe: Probe, target: Target) -> str | None:
    context = probe.context(verify=False)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with probe.connect(target, context) as connection:
        assert isinstance(connection, ssl.SSLSocket)  # noqa: S101
        return connection.selected_alpn_protocol()


def _judge_old_versions(probe: Probe, target: Target, url: str, report: Report) -> None:
    """Whether a client that speaks nothing newer than TLS 1.1 is taken."""
    report.asked += 1
    context = probe.context(verify=False)
    try:
        with warnings.catch_warnings():
            # They are deprecated, which is the point.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    except (ValueError, ssl.SSLError):
        report.skip("TLS 1.0 and 1.1: this machine's OpenSSL does not speak them")
        return
    try:
        with probe.connect(target, context) as connection:
            version = connection.version() if isinstance(connection, ssl.SSLSocket) else None
    except (TimeoutError, ssl.SSLError, NotAnswered):
        return
    if version:
        report.warning(
            "tls_old_version", url, f"{version} is taken, which has not been safe since 2021",
            "nginx: ssl_protocols TLSv1.2 TLSv1.3;   hitch: tls-protos = TLSv1.2 TLSv1.3",
        )  # fmt: skip
