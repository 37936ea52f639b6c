"""What every dataset yields: the regions of one image, in two views."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class View:
    """One image as the model sees it, with the masks of its N regions.

    Attributes:
        image_id: Names the pixels. Two views with the same ``image_id`` in one
            batch are the same image and are encoded once.
        pixel_values: ``[tiles, 3, S, S]`` uint8 RGB, tiles for the MLLM, which
            normalises them itself; the thumbnail is the last (S = 448 for Sa2VA-4B). For a
            model that takes images whole, the cells of the prompt grid, row by row (S = 28 or 32).
        g_pixel_values: ``[3, G, G]`` uint8 RGB in 0..255 for the grounding
            encoder, which normalises it itself (G = 1024).
        visual_prompts: ``[N, g, g]`` bool, each mask on the grid of image
            tokens of one tile (g = 16), or ``[N, rows, columns]`` on that of the whole image; at
            least one cell each is set.
        masks: ``[N, H, W]`` bool, the ground truth. For training H = W = G / 4,
            the size of SAM 2's low-resolution logits; for validation the
            image's own size.
    """

    image_id: str
    pixel_values: Tensor
    g_pixel_values: Tensor
    visual_prompts: Tensor
    masks: Tensor


@dataclass
class RegionSample:
    """N regions of one image seen in two views.

    Attributes:
        dataset: Key of the dataset in the mix, ``'sav'`` for example.
        sample_id: Names the record for error messages: file and position.
        view1: The view that is described.
        view2: The view that is segmented. The same object as ``view1`` if a
            dataset has only one view.
        expressions: N texts by people (or class names), ``None`` where a
            region has none. A region with an expression skips *describe*.
        instead_of: Unusable records that this one has replaced.
    """

    dataset: str
    sample_id: str
    view1: View
    view2: View
    expressions: list[str | None]
    instead_of: list[BrokenRecord] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.expressions)


@dataclass
class BrokenRecord:
    """Takes the place of a sample that could not be read; never trained on.

    It travels through the collator so that the main process can count it,
    name it, and stop the run when too many are broken.

    Attributes:
        dataset, sample_id: See :class:`RegionSample`.
        reason: What is wrong with it.
        is_unusable: It could be read, and nothing in it can be drawn: no mask is visible, or large
            enough. Data has such records; nothing is broken.
        instead_of: Unusable records that this one has replaced.
    """

    dataset: str
    sample_id: str
    reason: str
    is_unusable: bool = False
    instead_of: list[BrokenRecord] = field(default_factory=list)


class UnusableRecordError(ValueError):
    """A record is as it should be, but nothing in it can be drawn."""
