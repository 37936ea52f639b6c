"""Losses; each returns one value per region, so that the caller can average over all ranks."""

from .caption_loss import caption_loss, kl_loss
from .mask_loss import dice_loss, iou_loss, mask_bce_loss, sample_points

__all__ = ['caption_loss', 'dice_loss', 'iou_loss', 'kl_loss', 'mask_bce_loss', 'sample_points']
