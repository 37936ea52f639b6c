"""One batch on its way through the loop: what the objectives share."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ..losses import LossTable
from ..sa2va.generation import Sampling
from ..sa2va.prefix import Prefix
from ..sa2va.questions import Questions
from ..sa2va.sa2va import Sa2VA
from ..structures import CaptionLogits, Captions, RegionBatch, Segmentation, TextEmbeds
from .candidates import candidate_masks, iou_with_others, iou_with_own
from .segmentation_losses import SegmentationLosses


class Step:
    """The regions of one batch in both views, and what is written and judged once for all objectives.

    Nothing is computed before an objective asks for it, and nothing twice.

    Args:
        student: The model in training.
        segmenter: The model that reads its captions: the teacher, or the student as a control.
        batch: R regions; W of them are described, H have a human expression.
        table: Where objectives put losses and values to log.
        segmentation_losses: Losses on the student's own masks.
        max_caption_len: The most tokens of a caption.
        num_captions: K, captions written per described region: a greedy one, the rest sampled.
        sampling: How the others are sampled.
        segment_first: Whether anything is segmented in first views too.

    Attributes:
        views1, views2: Both views of the W described regions.
        spoken1, spoken2: Both views of the H regions with a human expression.
        expressions: H texts.
        datasets, spoken_datasets: Names, W and H.
    """

    def __init__(
        self,
        student: Sa2VA,
        segmenter: Sa2VA,
        batch: RegionBatch,
        table: LossTable,
        segmentation_losses: SegmentationLosses,
        max_caption_len: int,
        num_captions: int,
        sampling: Sampling,
        segment_first: bool = True,
    ) -> None:
        self.student, self.segmenter, self.table = student, segmenter, table
        self.segmentation_losses = segmentation_losses
        self.max_caption_len, self.num_captions, self.sampling = max_caption_len, num_captions, sampling
        described = [row for row, text in enumerate(batch.expressions) if text is None]
        spoken = [row for row, text in enumerate(batch.expressions) if text is not None]
        both1, both2 = student.look(batch, segment_first)
        self.features = both1.features
        rows = torch.tensor(described, dtype=torch.long, device=batch.image_index1.device)
        self.views1, self.views2 = both1[rows], both2[rows]
        rows = torch.tensor(spoken, dtype=torch.long, device=batch.image_index1.device)
        self.spoken1, self.spoken2 = both1[rows], both2[rows]
        self.expressions = [str(batch.expressions[row]) for row in spoken]
        self.datasets = [batch.datasets[row] for row in described]
        self.spoken_datasets = [batch.datasets[row] for row in spoken]

    # ------------------------------------------------------------------ what the two have read

    @cached_property
    def student_prefix(self) -> Prefix:
        """What the student has read of the images, without gradient."""
        return self.student.read(self.features)

    @cached_property
    def segmenter_prefix(self) -> Prefix:
        """What the segmenter has read of them."""
        return self.student_prefix if self.segmenter is self.student else self.segmenter.read(self.features)

    @cached_property
    def questions(self) -> Questions:
        """What the student is asked with gradient, by all objectives together."""
        return self.student.ask(self.features)

    # ------------------------------------------------------------------ captions

    @cached_property
    def candidates(self) -> Captions:
        """K * W captions: the greedy ones of all regions, then the sampled ones, without gradient."""
        return self.student.describe(
            self.views1, self.max_caption_len, self.num_captions, self.sampling, self.student_prefix
        )

    @cached_property
    def captions(self) -> Captions:
        """W greedy captions."""
        return self.candidates[torch.arange(len(self.views1), device=self.views1.image_index.device)]

    @cached_property
    def greedy_scores(self) -> Callable[[], CaptionLogits]:
        """Gives the student's scores of the greedy captions, with gradient; asked when first mentioned."""
        return self.questions.score(self.views1, self.captions)

    @cached_property
    def start_scores(self) -> CaptionLogits:
        """Scores of the greedy captions by the model before training, without gradient."""
        return self.student.score_at_start(self.views1, self.captions)

    # ------------------------------------------------------------------ masks

    @cached_property
    def candidate_masks(self) -> Tensor:
        """``[K, W, h, w]``: the segmenter's mask in view 2 from each caption; equal texts run once."""
        return candidate_masks(self.segmenter, self.views2, self.candidates.texts, self.segmenter_prefix)

    @cached_property
    def candidate_iou(self) -> Tensor:
        """``[K, W]``: IoU of these masks with the regions that the captions are about."""
        return iou_with_own(self.candidate_masks, self.views2)

    @cached_property
    def confuser_iou(self) -> Tensor:
        """``[K, W]``: best IoU of these masks with another region of the image, 0 where there is none."""
        return iou_with_others(self.candidate_masks, self.views2)

    @property
    def greedy_iou(self) -> Tensor:
        """``[W]``: IoU from the greedy captions."""
        return self.candidate_iou[0]

    def segment_with_gradient(self, texts: TextEmbeds) -> Segmentation:
        """The segmenter's masks of W texts in view 2, with gradient to the texts.

        A student that segments is in training too: it reads the images with gradient.
        """
        prefix = None if self.segmenter is self.student else self.segmenter_prefix
        return self.segmenter.segment(self.views2, texts, prefix)
