"""Running things: loops, checkpoints, overrides, launch."""
