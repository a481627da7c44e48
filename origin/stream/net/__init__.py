"""Sockets and the kernel; no HTTP."""
