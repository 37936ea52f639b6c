"""An optimizer that leaves out updates which would do damage."""

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import Tensor

#: Accepted losses that a new one is compared with, and how many there have to be.
_WINDOW, _ENOUGH = 100, 20


@dataclass
class Refusal:
    """Why an update was not made.

    Attributes:
        reason: For the log.
        loss: Mean loss of the update over its iterations and ranks.
    """

    reason: str
    loss: float


class GuardedStep:
    r"""Before each update all ranks look at its loss and its gradients, and make it together or not at all.

    An update is refused if a loss of any of its iterations, or the norm of its gradients, is not finite on
    any rank. With ``spike_threshold`` it is also refused if its loss is far above the last 100 accepted:

    .. math:: loss - median > spike\_threshold \cdot 1.4826 \cdot \mathrm{median}(|x - median|)

    where the right-hand side is that many standard deviations if losses are normal. The first 20 are
    never a spike.

    After a refusal the gradients are dropped; weights, the optimizer's state and the loss scale of a static
    scaler are as before. ``refusal`` says why until the next update.

    Args:
        spike_threshold: See above; None switches it off.
        kwargs: See ``OptimWrapper``.

    Raises:
        ValueError: ``spike_threshold`` is not positive.
    """

    def __init__(self, *args: Any, spike_threshold: float | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if spike_threshold is not None and not spike_threshold > 0:
            raise ValueError(
                f'spike_threshold={spike_threshold} is not positive. Set it to a number of standard '
                'deviations, 10 for one, or to None.'
            )
        self.spike_threshold = spike_threshold
        self.refusal: Refusal | None = None
        self.accepted: deque[float] = deque(maxlen=_WINDOW)
        self._losses: list[Tensor] = []

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """As the parent; remembers the loss for :meth:`step`."""
        self.refusal = None
        self._losses.append(loss.detach().float())
        super().update_params(loss, *args, **kwargs)  # type: ignore[misc]

    def step(self, **kwargs: Any) -> None:
        """Make the update, or refuse it."""
        self.refusal = self._judge()
        self._losses = []
        if self.refusal is None:
            super().step(**kwargs)  # type: ignore[misc]
        else:
            self._refuse()

    def _judge(self) -> Refusal | None:
        """The same answer on every rank: one small exchange, one look at the device."""
        losses = torch.stack(self._losses) if self._losses else torch.zeros(1)
        gradients = [p.grad for group in self.optimizer.param_groups for p in group['params']]  # type: ignore[attr-defined]
        norm = gradient_norm([gradient for gradient in gradients if gradient is not None])
        is_wrong = torch.stack([~losses.isfinite().all(), ~norm.to(losses.device).isfinite()]).float()
        facts = torch.cat([is_wrong, losses.nan_to_num().mean()[None], torch.ones_like(is_wrong[:1])])
        all_reduce(facts)
        wrong_losses, wrong_gradients, loss, num_ranks = facts.tolist()
        mean = loss / num_ranks
        if wrong_losses or wrong_gradients:
            what = 'the loss' if wrong_losses else 'the gradient'
            return Refusal(f'{what} is not finite', math.nan if wrong_losses else mean)
        limit = self._spike_limit()
        if mean > limit:
            return Refusal(f'the loss {mean:.4g} is a spike, above {limit:.4g}', mean)
        self.accepted.append(mean)
        return None

    def _spike_limit(self) -> float:
        if self.spike_threshold is None or len(self.accepted) < _ENOUGH:
            return math.inf
        median = statistics.median(self.accepted)
        deviation = statistics.median(abs(loss - median) for loss in self.accepted)
        return median + self.spike_threshold * 1.4826 * deviation

    def _refuse(self) -> None:
        scaler = getattr(self, 'loss_scaler', None)
        if scaler is not None:  # a dynamic scale has to shrink after an overflow, as in the parent's step
            scaler.unscale_(self.optimizer)  # type: ignore[attr-defined]
            scaler.update(self._scale_update_param)  # type: ignore[attr-defined]
        self.optimizer.zero_grad()  # type: ignore[attr-defined]


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """Euclidean norm of all gradients, in float32; finite only if every value is. 0 for none."""
    if not gradients:
        return torch.zeros(())
    norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32) for gradient in gradients]
    return torch.linalg.vector_norm(torch.stack(norms))


@OPTIM_WRAPPERS.register_module()
class GuardedOptimWrapper(GuardedStep, OptimWrapper):
    """``OptimWrapper`` with :class:`GuardedStep`."""


@OPTIM_WRAPPERS.register_module()
class GuardedAmpOptimWrapper(GuardedStep, AmpOptimWrapper):
    """``AmpOptimWrapper`` with :class:`GuardedStep`."""
