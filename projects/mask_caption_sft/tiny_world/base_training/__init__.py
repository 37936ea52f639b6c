"""Trains a small Sa2VA from scratch, as the base from which the loop starts."""

from .drawn_scenes import DrawnScenes
from .trainer import Phase, Sa2VABaseTraining

__all__ = ['DrawnScenes', 'Phase', 'Sa2VABaseTraining']
