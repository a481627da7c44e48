"""Measures servers of Server-Sent Events against each other: see README.md.

meter → load → server → peer_servers, ours → compare, scale → report → chart; run is the command.
"""
