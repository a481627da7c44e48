"""The stream tier: many viewers on one thread. It knows no Flask."""
