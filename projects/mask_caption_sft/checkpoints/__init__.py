"""Files: the released layout, training checkpoints, and the way from one to the other."""
