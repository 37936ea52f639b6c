"""What validation hands to the metrics, one per region."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class RegionPrediction:
    """The model's captions and masks for one region, with the ground truth.

    Attributes:
        dataset, sample_id: Where the region comes from.
        image_ids: Names of view 1 and view 2.
        expression: The human text, if any.
        caption: What the model wrote for view 1.
        masks: bool ``[H, W]`` at the ground truth's size, by how they were made:
            ``'expression'`` (human text -> view 2), ``'caption'`` (own caption ->
            view 2), ``'caption_same_view'`` (own caption -> view 1),
            ``'caption_shuffled'`` and ``'caption_blank'`` (the controls, view 2).
        mask1, mask2: ``[H, W]`` bool, the ground truth in each view.
        confusers: ``[K, H, W]`` bool, the ground truth of all regions of image 2,
            including this one.
        confuser_index: Which of ``confusers`` is this region.
        without_seg: Names of the masks that are empty because the model wrote no ``[SEG]``.
        answers: ``'written'`` by the model, or ``'given'`` to it and never checked; then
            ``without_seg`` is empty whatever the model would have written.
        best_of: How many captions the model wrote, of which ``caption`` is the best one; 1 for the greedy
            one alone.
    """

    dataset: str
    sample_id: str
    image_ids: tuple[str, str]
    expression: str | None
    caption: str | None
    mask1: Tensor
    mask2: Tensor
    masks: dict[str, Tensor] = field(default_factory=dict)
    confusers: Tensor | None = None
    confuser_index: int = 0
    without_seg: set[str] = field(default_factory=set)
    answers: str = 'written'
    best_of: int = 1
