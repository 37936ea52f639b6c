"""What MMEngine 0.10.7 needs around it with torch >= 2.6, and on machines without a GPU."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from numpy._core import multiarray as numpy_core  # where NumPy 2 keeps what pickles refer to


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's own checkpoints.

    Only the classes that MMEngine stores are allowed; the check stays on.
    """
    names: list = [HistoryBuffer, np.dtype, np.ndarray, np.float64, np.float32, np.int64]
    names += [numpy_core._reconstruct, numpy_core.scalar]
    torch.serialization.add_safe_globals(names)


def prepare_distributed(config: Config) -> None:
    """Start the process group ourselves where there is no GPU.

    MMEngine starts ``launcher='pytorch'`` with ``torch.cuda.set_device`` and gives DDP
    device ids even on a CPU; an existing gloo group it leaves alone.
    """
    if config.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    config.model_wrapper_cfg.update(device_ids=None)
