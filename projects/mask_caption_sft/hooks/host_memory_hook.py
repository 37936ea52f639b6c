"""Logs the host memory of the process; MMEngine logs that of the GPU only."""

import resource

from mmengine.hooks import Hook
from mmengine.runner import Runner


class HostMemoryHook(Hook):
    """Logs ``host_memory_mb``: the peak resident memory of this process so far, in MB."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Give the value to the logger (``ru_maxrss`` is in kB on Linux)."""
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        runner.message_hub.update_scalar('train/host_memory_mb', kilobytes / 1024)
