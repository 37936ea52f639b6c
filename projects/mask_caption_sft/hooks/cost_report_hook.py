"""Says before the first step what the run needs."""

import logging

import torch
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ..benchmarking.compare import matmul_rate
from ..estimating import report
from ..estimating.estimate import GIB, Estimate

#: The share of a large product's rate that a run is assumed to reach, see tools/estimate_cost.py.
UTILISATION = 0.25


class CostReportHook(Hook):
    """Three lines on the main process: memory, iterations, hours; a warning where memory does not suffice.

    It never stops a run: what cannot be estimated is said and left out.
    """

    priority = 'VERY_HIGH'  # before a first validation

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Count on tensors without values, measure the device's rate, and log."""
        try:
            self._report(runner)
        except Exception as error:  # whatever it is, the run itself can go on
            print_log(f'No estimate of costs ({type(error).__name__}: {error}).', 'current', logging.WARNING)

    @staticmethod
    def _report(runner: Runner) -> None:
        lines, warning = cost_lines(Estimate(runner.cfg, runner.world_size), runner)
        for line in lines:
            print_log(line, 'current')
        if warning:
            print_log(warning, 'current', logging.WARNING)


def cost_lines(estimate: Estimate, runner: Runner) -> tuple[list[str], str | None]:
    """Memory, iterations and hours on the runner's device; a warning where its memory does not suffice."""
    cost, iterations = estimate.cost(), runner.max_iters
    device = next(runner.model.parameters()).device
    rate = matmul_rate(device, estimate.dtype or torch.float32)
    lines = [
        report.memory_line(estimate, cost),
        report.iterations_line(iterations, estimate),
        report.hours_line(iterations, cost, rate, UTILISATION),
    ]
    memory_gib = memory_of(device)
    return lines, None if memory_gib is None else report.over_memory(estimate, memory_gib)


def out_of_memory_advice(runner: Runner, error: BaseException) -> str:
    """Which setting to lower and to what, after a step that did not fit."""
    device = next(runner.model.parameters()).device
    estimate = Estimate(runner.cfg, runner.world_size)
    memory_gib = memory_of(device) or estimate.cost().total_bytes / GIB
    return report.out_of_memory(estimate, memory_gib, error)


def memory_of(device: torch.device) -> float | None:
    """GiB of a GPU; None for a CPU."""
    if device.type != 'cuda':
        return None
    return torch.cuda.get_device_properties(device).total_memory / GIB
