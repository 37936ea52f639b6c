"""What every objective is."""

from abc import ABC, abstractmethod

from ..step import Step


class Objective(ABC):
    """Something to teach from one batch; owns its weights and thresholds.

    Attributes:
        needs_captions: It learns from regions that the student describes; not called where there are none.
        needs_candidates: It compares several captions of a region; without such an objective only the
            greedy ones are written.
    """

    needs_captions = True
    needs_candidates = False

    @abstractmethod
    def teach(self, step: Step) -> None:
        """Add this objective's losses, and what it wants logged, to ``step.table``."""
