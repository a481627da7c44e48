"""Events from outside: who signed them, what they say, and the log that has them."""
