"""The subcommands of ``touchline``: one module each, which exposes ``command``; ``origin.cli`` has the list.

A command that reads a file refuses a bad one as ``origin.commands.files`` says.
"""
