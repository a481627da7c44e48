"""Every tier of Touchline on one machine, as real processes on loopback: ``python -m deploy.cluster``.

``ports`` and ``child`` (one process), ``tiers`` (what is started, in which order), ``status`` (what each
tier says of itself), ``__main__`` (the command). docs/cluster.md says what to look at.
"""
