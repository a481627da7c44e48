"""The widget's build: ``python -m widget.build``."""
