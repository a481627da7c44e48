"""How Touchline is run: ``kafka`` (one broker from Maven's jars), ``cluster`` (all tiers on one machine)."""
