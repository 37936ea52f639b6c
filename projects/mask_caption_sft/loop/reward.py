"""What a caption is worth to the objectives that compare captions."""

from dataclasses import dataclass

from torch import Tensor

from .step import Step


@dataclass
class Reward:
    """IoU of the segmenter's mask in view 2, less what is held against the caption.

    Args:
        confuser_weight: Times the best IoU with another region of the same image: a caption that fits
            both is worth less than one that tells them apart.
        token_cost: For each token of the caption.
    """

    confuser_weight: float = 0.0
    token_cost: float = 0.0

    def __call__(self, step: Step, worth: Tensor | None = None) -> Tensor:
        """``[K, W]``, for each caption of each described region.

        Args:
            step: The batch.
            worth: ``[K, W]``, in the place of the IoU from whole captions.
        """
        rewards = step.candidate_iou if worth is None else worth
        if self.confuser_weight:
            rewards = rewards - self.confuser_weight * step.confuser_iou
        if self.token_cost:
            rewards = rewards - self.token_cost * step.candidates.in_caption.sum(1).view(rewards.shape)
        return rewards
