"""Hooks of the run, one duty each."""
