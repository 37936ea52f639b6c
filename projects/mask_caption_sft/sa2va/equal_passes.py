"""As many passes through sharded layers on one rank as on another, in the same order."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .frozen_shards import FrozenShards

#: What a rank wants next. What has the lowest number among the ranks comes first.
_NO_GRADIENT, _FIRST_WITH_GRADIENT, _NOTHING = 0, 1, 10_000


class EqualPasses:
    """Lets ranks with unequal batches run layers that they can only gather together.

    Ranks write captions of different lengths, have images with and without texts, in more or fewer batches
    of like length, and may have nothing at all. So before each pass of a language model they agree on the
    kind of the next pass. A rank that wanted another kind, or none, runs one of that kind for show: layers
    are gathered and let go, or, where a backward pass will follow, one token runs. After :meth:`finish` all
    ranks have made the same passes. All passes with gradient, real or for show, are tied to the losses, so
    that each is met once in the backward pass, where the last comes first on every rank.

    Between the first pass and :meth:`finish` no rank may wait for another in any other way.

    Args:
        language_models: Those that run the layers, in the same order on every rank.
        shards: Their layers.
    """

    def __init__(self, language_models: Sequence[nn.Module], shards: FrozenShards) -> None:
        self._models, self.shards = list(dict.fromkeys(language_models)), shards
        self._group = dist.new_group(backend='gloo')  # the host's own numbers: no device has to wait
        self._is_for_show = False
        self._outputs: list[Tensor] = []
        for number, model in enumerate(self._models):
            model.register_forward_pre_hook(_Before(self, _FIRST_WITH_GRADIENT + number), with_kwargs=True)
            model.register_forward_hook(self._after)

    def agree(self, wanted: int) -> None:
        """Run what other ranks want first; then it is this rank's turn."""
        while not self._is_for_show:
            next_kind = torch.tensor(wanted)
            dist.all_reduce(next_kind, dist.ReduceOp.MIN, group=self._group)
            if next_kind == wanted:
                return
            self._run_for_show(int(next_kind))

    def finish(self) -> None:
        """Run what other ranks still want, until none wants anything."""
        self.agree(_NOTHING)

    def tie(self, graph: Tensor) -> Tensor:
        """``graph``, a scalar, with a gradient of zero to every pass with gradient until now."""
        outputs, self._outputs = self._outputs, []
        return _Tie.apply(graph, *outputs)

    def _run_for_show(self, kind: int) -> None:
        if kind == _NO_GRADIENT:
            self.shards.run_empty()
            return
        model = self._models[kind - _FIRST_WITH_GRADIENT]
        norm: Any = model.norm
        token = norm.weight.new_zeros(1, 1, len(norm.weight)).requires_grad_()
        devices = [token.device] if token.is_cuda else []
        self._is_for_show = True
        try:
            # Dropout must not move this rank's random numbers.
            with torch.enable_grad(), torch.random.fork_rng(devices):
                model(inputs_embeds=token, use_cache=False)
        finally:
            self._is_for_show = False

    def _after(self, model: nn.Module, arguments: Any, output: Any) -> None:
        if output.last_hidden_state.requires_grad:
            self._outputs.append(output.last_hidden_state)


class _Before:
    """Agrees on a pass before it runs."""

    def __init__(self, passes: EqualPasses, kind: int) -> None:
        self._passes, self._kind = passes, kind

    def __call__(self, model: nn.Module, arguments: Any, settings: dict[str, Any]) -> None:
        embeds = settings.get('inputs_embeds')
        learns = (embeds is not None and embeds.requires_grad) or any(
            p.requires_grad for p in model.parameters()
        )
        self._passes.agree(self._kind if torch.is_grad_enabled() and learns else _NO_GRADIENT)


class _Tie(torch.autograd.Function):
    """The first argument; the others are given a gradient of zero, whatever their values are."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, *outputs: Tensor) -> Tensor:
        ctx.others = [(output.shape, output.dtype, output.device) for output in outputs]
        return graph.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        zeros = [torch.zeros((), dtype=t, device=d).expand(s) for s, t, d in ctx.others]
        return gradient, *zeros
