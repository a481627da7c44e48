"""The origin: everything with I/O between a vendor's feed and a viewer's connection.

Read the packages in the order data moves: ``feeds`` → ``ingest`` → ``eventlog`` (seam 1) → ``fanout`` →
``bus`` (seam 2) → ``edge`` (HTTP and streams).
"""
