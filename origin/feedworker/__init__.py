"""The feed worker: a vendor over HTTP on one side, the event log on the other.

``client``         one request or one stream, with every limit a vendor can break
``formats``        what is particular to each vendor's feed
``intake``         one match: what a document changes, appended; an outage, marked and taken back
``shared_intake``  an intake as tasks share it, and when its vendor was last heard
``poller``         reads one match's document again and again
``push``           listens to the vendor's stream, and has the pollers re-read what it may have missed
``dead_letters``   what cannot be read, kept as dead letters within bounds
``worker``         all of it for several matches in one process

Parsing is in ``origin.feeds``, which touches no network.
"""

from __future__ import annotations
