"""Populations whose interaction is known: particles, and cell types."""
