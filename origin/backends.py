"""A URL's scheme picks the implementation of a seam, which is imported only then."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from origin.errors import ConfigError

__all__ = ["open_backend"]


def open_backend(setting: str, url: str, implementations: Mapping[str, str]) -> Any:
    """Open the implementation that a URL names.

    Args:
        setting: the name of the setting that the URL came from, for the error.
        url: may contain a password; no error shows it.
        implementations: name of the module by scheme; each module has ``open_url``.

    Raises:
        ConfigError: it is no URL, its scheme is unknown, or a package that it needs is not installed.
        OriginError: as the implementation's own ``open_url``.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # its text may contain the password
        shown = f"{setting} {url.partition(':')[0]}://…"
        raise ConfigError(f"{shown}: is no URL: its host has brackets or characters that none has") from None
    if scheme not in implementations:
        raise ConfigError(f"{setting} {scheme}://…: the scheme must be one of {' '.join(implementations)}")
    try:
        module = import_module(implementations[scheme])
    except ImportError as error:
        raise ConfigError(f"{setting} {scheme}://… needs a package that is not installed: {error}") from error
    return module.open_url(url)
