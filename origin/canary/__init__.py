"""The canary: a synthetic match that goes through log, fan-out, bus and stream all the time.

``match`` (its ids and events, and who may not see it), ``beats`` (appends them), ``lateness`` (how late what
a server knows is), ``peers`` (whether a server is behind the others). The stream tier watches it as a viewer
(``origin.stream.hub.canary``).
"""
