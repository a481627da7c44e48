"""The same match to the same number of clients by five protocols at once, each with an origin of its own."""
