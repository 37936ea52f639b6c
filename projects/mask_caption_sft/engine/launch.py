"""What MMEngine 0.10.7 needs in addition with torch >= 2.6, and on machines without a GPU."""

import torch
from mmengine.config import Config


def check_amp(config: Config) -> None:
    """Refuse autocast where MMEngine's ``AmpOptimWrapper`` would only assert.

    Raises:
        ValueError: There is no GPU.
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
    device ids even on a CPU; it leaves an existing gloo group alone.
    """
    if config.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    config.model_wrapper_cfg.update(device_ids=None)
