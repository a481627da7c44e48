"""Signed webhooks to publishers: goals, corrections, changes of status (docs/webhooks-out.md).

``endpoints`` says who gets what, ``messages`` makes the bodies, ``outbox`` keeps on disk what is not
delivered yet, ``sender`` makes one attempt, ``worker`` reads the log and has one thread for each endpoint.
"""
