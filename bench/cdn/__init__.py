"""What caches in front cost and give: see ``bench.cdn.__main__``."""
