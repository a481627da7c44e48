"""What is measured, and how: see ``bench/README.md``. Nothing here asserts a time."""
