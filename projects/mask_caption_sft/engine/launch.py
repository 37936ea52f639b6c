"""What MMEngine 0.10.7 needs around it with torch >= 2.6, and on machines without a GPU."""

import numpy as np
import torch
from mmengine.config import Config
from numpy._core import multiarray as numpy_core  # where NumPy 2 keeps what pickles refer to


def allow_checkpoint_globals() -> None:
    """Let ``torch.load(weights_only=True)`` read NumPy scalars, which MMEngine stores beside tensors.

    Nothing that could run code is allowed; the check stays on for files from elsewhere.
    """
    names: list = [numpy_core.scalar, np.dtype]
    names += [type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', 'u1', '?')]
    torch.serialization.add_safe_globals(names)


def check_amp(config: Config) -> None:
    """Refuse autocast where MMEngine's ``AmpOptimWrapper`` would only assert.

    Raises:
        ValueError: There is no GPU for it.
    """
    kind = (config.get('optim_wrapper') or {}).get('type')
    if not torch.cuda.is_available() and getattr(kind, '__name__', str(kind)).endswith('AmpOptimWrapper'):
        raise ValueError(
            'AmpOptimWrapper (bf16 autocast) needs a GPU, and there is none. For float32 on a CPU leave out '
            '--amp, or declare an OptimWrapper as configs/mask_caption_sft_tiny.py does.'
        )


def prepare_distributed(config: Config) -> None:
    """Start the process group ourselves where there is no GPU.

    MMEngine starts ``launcher='pytorch'`` with ``torch.cuda.set_device`` and gives DDP
    device ids even on a CPU; an existing gloo group it leaves alone.
    """
    if config.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    config.model_wrapper_cfg.update(device_ids=None)
