"""Losses; each returns one value per region, and the table averages them over all ranks."""

from .caption_loss import caption_loss, kl_loss, token_losses
from .loss_table import LossTable
from .mask_loss import dice_loss, iou_loss, mask_bce_loss, sample_points

__all__ = [
    'LossTable',
    'caption_loss',
    'dice_loss',
    'iou_loss',
    'kl_loss',
    'mask_bce_loss',
    'sample_points',
    'token_losses',
]
