"""Pixels of ViT tiles."""

import torch
import torch.nn.functional as F
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


Channels = tuple[float, float, float]


def normalize_tiles(tiles: Tensor, mean: Channels = IMAGENET_MEAN, std: Channels = IMAGENET_STD) -> Tensor:
    r"""Tiles for the ViT, :math:`(x / 255 - \mathrm{mean}) / \mathrm{std}`.

    The 256 values of a channel are computed on the CPU and looked up on the device: every device gives the
    same bits. (Divided there, some differ in the last one: CUDA multiplies by the reciprocal of a number.)

    Args:
        tiles: ``[tiles, 3, S, S]`` uint8 RGB; tiles of another type are normalised already, and come back
            as they are.
        mean, std: Of each channel; ImageNet's by default.

    Returns:
        ``[tiles, 3, S, S]`` float32.
    """
    if tiles.dtype != torch.uint8:
        return tiles
    means, stds = (torch.tensor(values, device='cpu') for values in (mean, std))
    levels = torch.arange(256, dtype=torch.float32, device='cpu')[:, None]
    table = ((levels / 255 - means) / stds).to(tiles.device)
    channels = [F.embedding(tiles[:, i].int(), table[:, i, None])[..., 0] for i in range(3)]
    return torch.stack(channels, dim=1)
