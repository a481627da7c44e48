"""The operators' console at ``/console``: people who follow a match enter its events.

An operator signs in (``sign_in``), opens a match over one WebSocket (``match_socket``), and each entry goes
through ``origin.ingest`` into the log under the operator's name, as a signed webhook does under that of its
key. What the operator sees is the fold of the log's records (``desk``); what viewers see is shown by the
embed beside it.

It is off unless ``TOUCHLINE_CONSOLE_DATA_DIR`` names a directory for its accounts and sessions.
docs/console.md says how it is used, docs/security.md what each of its users may cost.
"""

from __future__ import annotations
