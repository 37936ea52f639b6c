"""What every objective is."""

from abc import ABC, abstractmethod
from typing import Any

from ..step import Step


class Objective(ABC):
    """Something to teach from one batch; owns its weights and thresholds.

    First every objective asks the student what it needs, then the student answers all of them in one
    pass, in which each image runs once, and then each objective teaches.

    Attributes:
        needs_captions: It learns from regions that the student describes; not called where there are none.
        needs_candidates: It compares several captions of a region; without such an objective only the
            greedy ones are written.
    """

    needs_captions = True
    needs_candidates = False

    def ask(self, step: Step) -> Any:
        """Put questions to ``step.questions``; what is returned comes back in :meth:`teach`."""
        return None

    @abstractmethod
    def teach(self, step: Step, asked: Any) -> None:
        """Add this objective's losses, and what it wants logged, to ``step.table``.

        Args:
            step: The batch.
            asked: What :meth:`ask` returned.
        """
