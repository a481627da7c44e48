"""What is measured, and how: see ``bench/stream/README.md`` and each module. Nothing here asserts a time."""
