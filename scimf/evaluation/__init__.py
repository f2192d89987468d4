"""Held-out scores beside floors and baselines, for cells in coordinates."""
