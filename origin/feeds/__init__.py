"""Vendor documents to canonical events: pure parsing, one module per format.

===================  ========================================================================
``api-football-v3``  API-Football v3 fixtures with their events as JSON
``espn-scoreboard``  ESPN's scoreboard as JSON; unofficial, ESPN promises nothing
``football-data-v4``  football-data.org v4 matches as JSON
``stats-perform-ma1``  Stats Perform MA1 matches as JSON
``canonical``        this project's own JSONL, read strictly (docs/protocol.md section 1)
``openfootball``     the published files, and the ``-full`` form with cards and shoot-outs
``opta-f24``         Opta F24 events as XML, with names from F7
``sportradar-v4``    Sportradar Soccer v4 timelines as JSON
===================  ========================================================================

A converter reads bytes and yields events. It opens nothing, keeps no clock, and refuses what it cannot
read by its line. What a document says against itself is a warning: the events still come, and nothing
is invented to make them agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import BinaryIO, Final, Protocol, TypeAlias

from origin.errors import ConfigError, FeedError
from shared_state import Event

__all__ = ["DOCUMENT_MAX_BYTES", "FORMATS", "Converter", "Warn", "open_converter", "read_document"]

# Called with what is doubtful about a document, in the shape of an error, while its events still come.
Warn: TypeAlias = Callable[[FeedError], None]

# A season of a league is 1 MB, the longest F24 match 2 MB: ten times the largest known, and small enough
# that a hostile document cannot take a worker's memory.
DOCUMENT_MAX_BYTES: Final = 32 * 1024 * 1024


class Converter(Protocol):
    """One format."""

    def __call__(self, source: BinaryIO, warn: Warn, /) -> Iterator[Event]:
        """Yield the document's events, those of one match in the order of play.

        Raises:
            FeedError: the document cannot be read; its ``line`` says where. Events yielded before it stand.
            OSError: the source cannot be read.
        """


_MODULES: Final = {
    "api-football-v3": "origin.feeds.api_football_v3",
    "espn-scoreboard": "origin.feeds.espn_scoreboard",
    "football-data-v4": "origin.feeds.football_data_v4",
    "stats-perform-ma1": "origin.feeds.stats_perform_ma1",
    "canonical": "origin.feeds.canonical",
    "openfootball": "origin.feeds.openfootball",
    "opta-f24": "origin.feeds.opta_f24",
    "sportradar-v4": "origin.feeds.sportradar_v4",
}
FORMATS: Final = tuple(_MODULES)


def open_converter(name: str) -> Converter:
    """The converter of a format.

    Raises:
        ConfigError: no such format, or what it needs is not installed.
    """
    if name not in _MODULES:
        raise ConfigError(f"format {name!r}: must be one of {' '.join(FORMATS)}")
    try:
        module = import_module(_MODULES[name])
    except ImportError as error:
        raise ConfigError(
            f"format {name} needs a package that is not installed (pip install 'touchline[feeds]'): {error}"
        ) from error
    converter: Converter = module.convert
    return converter


def read_document(source: BinaryIO) -> bytes:
    """All of a source whose format is one document.

    Raises:
        FeedError: it is larger than ``DOCUMENT_MAX_BYTES``.
        OSError: it cannot be read.
    """
    data = source.read(DOCUMENT_MAX_BYTES + 1)
    if len(data) > DOCUMENT_MAX_BYTES:
        raise FeedError(f"a document may be at most {DOCUMENT_MAX_BYTES} bytes", line=1)
    return data
