"""Fan-out from a real Kafka to three regions with a real Redis each, and the faults in between."""
