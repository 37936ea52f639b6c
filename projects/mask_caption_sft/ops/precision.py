"""Where numbers must not be short."""

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay as they are."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
