"""Fan-out from a real Kafka to three regions with a real Redis each, and what can happen on the way."""
