"""What the frozen encoders and the mask decoder return."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ImageFeatures:
    """Features of I distinct images; they serve student and teacher alike.

    Attributes:
        vit: ``[sum(num_tiles), tokens, C]``, ViT features *before* the (trainable) projector: of InternVL
            pixel-shuffled, tokens = g * g; of Qwen-VL a tile is the cell of one token, and ``tokens`` are
            the features of that cell from each of the ViT's layers that the language model is shown.
        num_tiles: I counts; image i owns the i-th run of ``vit``.
        grounding: The grounding encoder's FPN levels of ``[G, C, h, w]``, finest first, *before*
            the mask decoder's own ``conv_s0``/``conv_s1``; ``no_mem_embed`` is
            already added to the last.
        grounding_images: ``[G]`` long, the images that have them; None for all I.
        grids: Rows and columns of each image's cells, where visual prompts are marked.
    """

    vit: Tensor
    num_tiles: list[int]
    grounding: tuple[Tensor, Tensor, Tensor]
    grounding_images: Tensor | None = None
    grids: list[tuple[int, int]] | None = None

    def grounding_rows(self, image_index: Tensor) -> Tensor:
        """Rows ``[R]`` of ``grounding`` for images ``[R]``.

        Raises:
            ValueError: The grounding encoder has not seen one of the images.
        """
        if self.grounding_images is None:
            return image_index
        row_of = torch.full((len(self.num_tiles),), -1, dtype=torch.long, device=image_index.device)
        row_of[self.grounding_images] = torch.arange(len(self.grounding_images), device=image_index.device)
        rows = row_of[image_index]
        if (rows < 0).any():
            raise ValueError(
                'A region is segmented in an image that SAM 2 has not encoded: first views only are where '
                '`look` was asked for them.'
            )
        return rows


@dataclass
class RegionViews:
    """R regions, each in one view of it.

    Attributes:
        features: Of the I images that the views show.
        image_index: ``[R]`` long, which of them each region is in.
        visual_prompts: ``[R, g, g]`` bool, the region's mask on the grid of image tokens; None for
            a view that is only segmented. Grids of unlike sizes are filled up to the largest.
        masks: ``[R, h, w]`` bool, the ground truth at the size of the mask logits; None where a
            view is only described.
    """

    features: ImageFeatures
    image_index: Tensor
    visual_prompts: Tensor | None = None
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image_index)

    def __getitem__(self, rows: Tensor) -> 'RegionViews':
        """Rows by position, ``[N]`` long; a row may occur more than once."""
        return RegionViews(
            self.features,
            self.image_index[rows],
            None if self.visual_prompts is None else self.visual_prompts[rows],
            None if self.masks is None else self.masks[rows],
        )


@dataclass
class Segmentation:
    """Masks of R regions, one per ``[SEG]``.

    Attributes:
        mask_logits: ``[R, h, w]``, the candidate with the largest predicted IoU,
            at the size at which the grounding encoder draws them.
        iou_scores: ``[R]``, its predicted IoU.
        answer_logits: ``[R, A, V]``, predicting ``answer_ids``.
        answer_ids: ``[A]`` long, the tokens of "Sure, [SEG]." and end of turn.
    """

    mask_logits: Tensor
    iou_scores: Tensor
    answer_logits: Tensor
    answer_ids: Tensor

    def __getitem__(self, rows: Tensor) -> 'Segmentation':
        """Regions by position, ``[N]`` long."""
        return Segmentation(
            self.mask_logits[rows], self.iou_scores[rows], self.answer_logits[rows], self.answer_ids
        )
