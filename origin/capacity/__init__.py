"""How many machines so many viewers need: a model, and what one process was measured to cost."""
