"""Masks: decoding, resizing, overlap."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from .segmentation_checks import check_counts, check_polygons


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO segmentation as a bool mask ``[height, width]``; see :func:`to_rle`."""
    return coco_mask.decode(to_rle(segmentation, height, width)).astype(bool)


def to_rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """A COCO segmentation, checked, as compressed RLE; its area is known without decoding it.

    Args:
        segmentation: Polygons (a list of flat x, y lists), uncompressed RLE or
            compressed RLE with ``counts`` as str or bytes, or a list of RLEs (refer's
            ``instances.json``). Overlapping parts are united, not summed.
        height, width: Of the image, in pixels.

    Raises:
        ValueError: An RLE is of another size, the annotation is none of these, or it holds numbers that
            :mod:`ops.segmentation_checks` refuses.
    """
    if isinstance(segmentation, list) and any(isinstance(part, dict) for part in segmentation):
        return unite_rles([to_rle(part, height, width) for part in segmentation], height, width)
    if isinstance(segmentation, list):
        polygons = [p for p in segmentation if len(p) >= 6]
        check_polygons(polygons, height, width)
        return unite_rles(coco_mask.frPyObjects(polygons, height, width) if polygons else [], height, width)
    if isinstance(segmentation, dict) and 'counts' in segmentation:
        if list(segmentation['size']) != [height, width]:
            raise ValueError(
                f'the RLE is of size {list(segmentation["size"])}, the image of {[height, width]} '
                '(height, width)'
            )
        check_counts(segmentation['counts'], height, width)
        if isinstance(segmentation['counts'], list):
            return coco_mask.frPyObjects(segmentation, height, width)
        return segmentation
    raise ValueError(f'a segmentation of type {type(segmentation).__name__} is neither polygons nor RLE')


def unite_rles(rles: list[dict[str, Any]], height: int, width: int) -> dict[str, Any]:
    """The union of compressed RLEs of one size; of none, an empty mask."""
    if not rles:
        return coco_mask.frPyObjects({'size': [height, width], 'counts': [height * width]}, height, width)
    return coco_mask.merge(rles)


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """A bool mask ``[H, W]`` as compressed COCO RLE with ``counts`` as str."""
    return with_text_counts(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))


def with_text_counts(rle: dict[str, Any]) -> dict[str, Any]:
    """A compressed RLE with ``counts`` as str, for JSON; pycocotools gives bytes."""
    counts = rle['counts']
    return {
        'size': [int(side) for side in rle['size']],
        'counts': counts if isinstance(counts, str) else counts.decode('ascii'),
    }


def resize_masks(masks: Sequence[Tensor] | Tensor, size: Sequence[int]) -> Tensor:
    """Masks of any sizes ``[H, W]`` as bool ``[N, *size]``, nearest neighbour.

    Source: upstream Sa2VA resizes training masks to 256 by nearest.
    """
    if len(masks) == 0:
        device = masks.device if isinstance(masks, Tensor) else None
        return torch.zeros(0, *size, dtype=torch.bool, device=device)
    resized = [
        mask
        if tuple(mask.shape) == tuple(size)
        else F.interpolate(mask[None, None].float(), tuple(size))[0, 0]
        for mask in masks
    ]
    return torch.stack([mask.bool() for mask in resized])


def mask_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union ``[N]`` of bool masks ``[N, H, W]``; 1 where both are empty."""
    first, second = first.flatten(1), second.flatten(1)
    intersection, union = (first & second).sum(1), (first | second).sum(1)
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
