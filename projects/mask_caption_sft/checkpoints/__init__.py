"""Files: the released layout, training checkpoints, and how one becomes the other."""
