"""Logs the host memory of the process; MMEngine logs that of the GPU only."""

import resource

from mmengine.hooks import Hook
from mmengine.runner import Runner


class HostMemoryHook(Hook):
    """``host_memory_mb``: the most resident memory of this process so far, in MB."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Leave the value for the logger (``ru_maxrss`` is in kB on Linux)."""
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        runner.message_hub.update_scalar('train/host_memory_mb', kilobytes / 1024)
