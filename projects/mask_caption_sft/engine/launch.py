"""What MMEngine 0.10.7 needs in addition with torch >= 2.6, and on machines without a GPU."""

import datetime
import os
from pathlib import Path

import torch
from mmengine.config import Config

from ..checkpoints.config import read_config
from ..checkpoints.key_map import key_map_of
from ..checkpoints.released import ReleasedWeights
from ..checkpoints.stored_dtypes import stored_dtypes
from ..sa2va.base_dtype import AMP_SETTING, NEEDS_AUTOCAST, frozen_dtype


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


def check_base_dtype(config: Config, trains: bool) -> None:
    """Refuse a base in half precision that something would run without autocast.

    The types are read from the files' headers. A base that is not there is no error here; whatever
    builds the model will refuse it.

    Args:
        config: Of the run.
        trains: Whether it trains; otherwise only validation has to have autocast.

    Raises:
        ValueError: A setting does not go with the base, or the base's types are unknown or mixed.
    """
    settings = config.get('model', {}).get('sa2va', {})
    chosen = frozen_dtype(settings.get('base_dtype', 'float32'), None)
    if chosen == torch.float32 or not _is_half(settings.get('base'), chosen):
        return
    wrapper = config.get('optim_wrapper') or {}
    kind = getattr(wrapper.get('type'), '__name__', str(wrapper.get('type')))
    if trains and not (kind.endswith('AmpOptimWrapper') and wrapper.get('dtype') == 'bfloat16'):
        raise ValueError(
            NEEDS_AUTOCAST.format(f'optim_wrapper {kind} (dtype={wrapper.get("dtype")!r})', AMP_SETTING)
        )
    if config.model.get('predict_dtype') is None:
        raise ValueError(NEEDS_AUTOCAST.format('model.predict_dtype=None', "model.predict_dtype='bfloat16'"))


def _is_half(base: str | None, chosen: torch.dtype | None) -> bool:
    if chosen is not None:
        return True
    if base is None or not (Path(base) / 'config.json').is_file():
        return False
    key_map = key_map_of(read_config(base))
    return any(dtype != torch.float32 for dtype in stored_dtypes(ReleasedWeights(base), key_map).values())


def prepare_distributed(config: Config) -> None:
    """Start the process group ourselves where there is no GPU.

    MMEngine starts ``launcher='pytorch'`` with ``torch.cuda.set_device`` and gives DDP
    device ids even on a CPU; it leaves an existing gloo group alone. The time-out is that of
    ``env_cfg.dist_cfg``, as MMEngine takes it where there is a GPU.

    Raises:
        ValueError: ``launcher`` is ``'pytorch'`` and no launcher has started this process.
    """
    if config.get('launcher', 'none') == 'none':
        return
    if config.launcher == 'pytorch' and 'RANK' not in os.environ:
        raise ValueError(
            '--launcher pytorch, but this process was not started by torchrun. Start the run with '
            'bash tools/dist_train.sh CONFIG GPUS, or leave out --launcher.'
        )
    if torch.cuda.is_available():
        return
    seconds = ((config.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
    timeout = None if seconds is None else datetime.timedelta(seconds=seconds)
    torch.distributed.init_process_group('gloo', timeout=timeout)
    config.model_wrapper_cfg.update(device_ids=None)
