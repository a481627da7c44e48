"""Servers, faults and worlds that tests, benches and demos share. Nothing that ships imports it."""
