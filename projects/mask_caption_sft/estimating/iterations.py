"""How long a run is, before it is built."""

import math

from mmengine.config import Config

from ..ops.build import build


def count_iterations(config: Config, num_gpus: int, epoch_len: int | None = None) -> tuple[int | None, str]:
    """Iterations of a config's run, or None and the reason why they are not known.

    Args:
        config: With ``train_cfg.max_iters``, or ``max_epochs`` and data.
        num_gpus: That share the draws.
        epoch_len: Draws of an epoch; by default counted in the data.
    """
    max_iters = config.train_cfg.get('max_iters')
    if max_iters is not None:
        return max_iters, ''
    if epoch_len is None:
        try:
            epoch_len = len(build(dict(config.train_dataloader.dataset)))
        except (OSError, ValueError) as error:
            return None, str(error).split('. ')[0]
    per_epoch = math.ceil(math.ceil(epoch_len / num_gpus) / config.train_dataloader.batch_size)
    return max(1, round(config.train_cfg.max_epochs * per_epoch)), ''
