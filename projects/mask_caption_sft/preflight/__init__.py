"""Everything that a run will do, done once before it: ``tools/train.py CONFIG --dry-run``."""
