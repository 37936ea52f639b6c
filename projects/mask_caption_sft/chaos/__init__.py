"""Runs that are killed, starved and fed with hostile files, and the proof that nothing was lost."""
