"""What a run will need, in lines."""

import resource
import shutil
from pathlib import Path

import torch
from mmengine.config import Config

from ..engine.training_runner import TrainingRunner
from ..estimating.estimate import GIB, Estimate
from ..hooks.cost_report_hook import cost_lines, memory_of
from ..hooks.trained_checkpoint_hook import TrainedCheckpointHook
from .rehearsal import Rehearsed


def measured_lines(runner: TrainingRunner, found: Rehearsed) -> list[str]:
    """What the rehearsal itself took."""
    device = next(runner.model.parameters()).device
    if device.type == 'cuda':
        most = (
            f'{torch.cuda.max_memory_allocated(device) / GIB:.1f} of {memory_of(device):.1f} GiB on the GPU'
        )
    else:
        most = f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB in this process'
    counts = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    return [f'measured: {found.seconds:.1f} s for the first update of {counts} iteration(s), at most {most}']


def estimated_lines(runner: TrainingRunner, config: Config) -> list[str]:
    """Memory, iterations and hours as counted; a line that says why where that is not possible."""
    try:
        estimate = Estimate(config, runner.world_size)
    except ValueError as error:
        return [f'No estimate of costs: {error}']
    lines, warning = cost_lines(estimate, runner)
    return lines + ([f'warning: {warning}'] if warning else [])


def disk_lines(runner: TrainingRunner, folder: Path, found: Rehearsed, problems: list[str]) -> list[str]:
    """The checkpoints that a run keeps, against what is free; too little is added to the problems."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, TrainedCheckpointHook)]
    if not hooks or not found.checkpoint_bytes:
        return []
    hook = hooks[0]
    kept = hook.max_keep_ckpts if hook.max_keep_ckpts > 0 else _number_of_saves(runner, hook)
    best = len(hook.save_best) if isinstance(hook.save_best, list) else int(bool(hook.save_best))
    count = kept + best + 1  # a new one is written before an old one is deleted
    needed, free = count * found.checkpoint_bytes, shutil.disk_usage(folder).free
    each = found.checkpoint_bytes / GIB
    if needed > free:
        problems.append(
            f'{count} checkpoints of {each:.3g} GiB need {needed / GIB:.1f} GiB and {folder} has '
            f'{free / GIB:.1f} free. Lower default_hooks.checkpoint.max_keep_ckpts, or give another '
            '--work-dir.'
        )
    return [f'disk: {count} checkpoints of {each:.3g} GiB at most, of {free / GIB:,.0f} GiB free']


def _number_of_saves(runner: TrainingRunner, hook: TrainedCheckpointHook) -> int:
    return max(1, runner.max_iters // max(1, hook.interval))
