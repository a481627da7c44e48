"""Real servers for the tests: each started on free loopback ports, each ended by its own process id."""
