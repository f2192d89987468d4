"""Populations whose interaction is known: particles, cell types, gene networks, counts."""
