"""From released videos to pairs of frames."""
