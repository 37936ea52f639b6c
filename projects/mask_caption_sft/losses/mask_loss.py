"""Losses between mask logits and masks."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.precision import at_least_float32


def iou_loss(mask_logits: Tensor, masks: Tensor) -> Tensor:
    r"""One minus the soft intersection over union, per mask.

    .. math:: 1 - \frac{\sum p g + 1}{\sum p + \sum g - \sum p g + 1},
              \quad p = \mathrm{sigmoid}(\text{mask\_logits})

    No threshold, so every pixel has a gradient; ``+ 1`` pixel keeps an empty
    mask finite, and its loss falls as the prediction empties.

    Args:
        mask_logits: ``[N, H, W]`` float, before the sigmoid.
        masks: ``[N, H, W]`` bool or {0, 1}, at the same resolution.

    Returns:
        ``[N]`` in [0, 1).

    Raises:
        ValueError: The two shapes differ.
    """
    _check_shapes('iou_loss', mask_logits, masks)
    p = at_least_float32(mask_logits).sigmoid().flatten(1)
    g = masks.flatten(1).to(p.dtype)
    intersection = (p * g).sum(1)
    union = p.sum(1) + g.sum(1) - intersection
    return 1 - (intersection + 1) / (union + 1)


def dice_loss(mask_logits: Tensor, masks: Tensor, eps: float = 1.0) -> Tensor:
    r"""One minus the soft Dice overlap, per mask.

    .. math:: 1 - \frac{2 \sum p g + \epsilon}{\sum p + \sum g + \epsilon}

    Args:
        mask_logits: ``[N, P]`` or ``[N, H, W]`` float, before the sigmoid.
        masks: The same shape, {0, 1} or interpolated values between.
        eps: Added above and below.

    Returns:
        ``[N]`` in [0, 1).

    Raises:
        ValueError: The two shapes differ.

    Source:
        MMDetection's ``DiceLoss(naive_dice=True, eps=1.0)``, as upstream Sa2VA uses it.
    """
    _check_shapes('dice_loss', mask_logits, masks)
    p = at_least_float32(mask_logits).sigmoid().flatten(1)
    g = masks.flatten(1).to(p.dtype)
    return 1 - (2 * (p * g).sum(1) + eps) / (p.sum(1) + g.sum(1) + eps)


def mask_bce_loss(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """Sigmoid cross-entropy, averaged over the points or pixels of each mask.

    Args:
        mask_logits: ``[N, P]`` or ``[N, H, W]`` float.
        masks: The same shape, in [0, 1].

    Returns:
        ``[N]``.

    Raises:
        ValueError: The two shapes differ.
    """
    _check_shapes('mask_bce_loss', mask_logits, masks)
    logits = at_least_float32(mask_logits)
    losses = F.binary_cross_entropy_with_logits(logits, masks.to(logits.dtype), reduction='none')
    return losses.flatten(1).mean(1)


def sample_points(
    mask_logits: Tensor,
    masks: Tensor,
    num_points: int = 12544,
    oversample_ratio: float = 3.0,
    uncertain_ratio: float = 0.75,
) -> tuple[Tensor, Tensor]:
    """Logits and masks at points, most of them where the prediction is uncertain.

    Args:
        mask_logits: ``[N, H, W]``.
        masks: ``[N, H, W]`` bool or {0, 1}.
        num_points: Points per mask.
        oversample_ratio: Uniform candidates per point, of which the most uncertain are kept.
        uncertain_ratio: Share of points chosen that way; the rest are uniform.

    Returns:
        ``[N, num_points]`` each, bilinearly interpolated; gradients flow to the logits.

    Source:
        PointRend, arXiv:1912.08193, with Mask2Former's numbers.
    """
    _check_shapes('sample_points', mask_logits, masks)
    logits = at_least_float32(mask_logits)[:, None]
    targets = masks[:, None].to(logits.dtype)
    with torch.no_grad():
        candidates = torch.rand(len(logits), int(num_points * oversample_ratio), 2, device=logits.device)
        uncertainty = -_at_points(logits, candidates).abs()
        num_uncertain = int(num_points * uncertain_ratio)
        index = uncertainty.topk(num_uncertain, dim=1).indices
        points = candidates.gather(1, index[..., None].expand(-1, -1, 2))
        if num_uncertain < num_points:
            uniform = torch.rand(len(logits), num_points - num_uncertain, 2, device=logits.device)
            points = torch.cat([points, uniform], dim=1)
        sampled_targets = _at_points(targets, points)
    return _at_points(logits, points), sampled_targets


def _at_points(images: Tensor, points: Tensor) -> Tensor:
    """``[N, 1, H, W]`` at ``[N, P, 2]`` (x, y in [0, 1]) -> ``[N, P]``."""
    grid = 2 * points[:, :, None] - 1
    return F.grid_sample(images, grid, mode='bilinear', align_corners=False)[:, 0, :, 0]


def _check_shapes(name: str, mask_logits: Tensor, masks: Tensor) -> None:
    if mask_logits.shape != masks.shape:
        raise ValueError(
            f'{name} got logits of {tuple(mask_logits.shape)} for masks of {tuple(masks.shape)}. '
            'Resize the masks first: ops.mask.resize_masks(masks, mask_logits.shape[-2:]).'
        )
