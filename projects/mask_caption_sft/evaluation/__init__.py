"""Metrics; each reports how many items it counted and how many were invalid."""
