"""What branching prompts have in common runs as an ordinary prompt, and nobody reads its last states.

Some prompts with a common beginning, the trunk, are one sequence. Its attention needs a mask only in the rows
of what follows the trunk; in the trunk every token sees those before it, for which there are faster kernels
that leave out the half which no token sees. And the last layer's output is wanted behind the trunk only, so
that there it gives keys and values of the trunk and nothing else.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

#: The name of our attention among transformers'; without a trunk it is their 'sdpa'.
_NAME = 'sdpa_with_trunk'


def let_trunks_run(language_model: Any) -> None:
    """Let a language model of transformers take ``trunk_len=n`` beside ``attention_mask``.

    The first n tokens of every row are then a prompt of their own, whatever the mask says; the mask
    ``[R, 1, L - n, S]`` is of the others, and so are the last hidden states ``[R, L - n, D]``.
    """
    language_model.config._attn_implementation = _NAME
    language_model.layers[-1].register_forward_pre_hook(_leave_out_trunk, with_kwargs=True)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    trunk_len: int = 0,
    keep_in: list[Tensor] | None = None,
    kept: list[Tensor] | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention as a layer calls it: ``[R, heads, L, width]`` to ``[R, L, heads, width]``.

    Args:
        trunk_len: See :func:`let_trunks_run`.
        keep_in: Where to put keys and values, which is then all that is done.
        kept: Keys and values of what stands before these, if no cache has them.
    """
    if keep_in is not None:
        keep_in += [key, value]
        return query.transpose(1, 2), None
    if kept:
        key, value = (torch.cat(parts, dim=2) for parts in zip(kept, (key, value)))
    if not trunk_len:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    own_query, own_key, own_value = (states[:, :, :trunk_len] for states in (query, key, value))
    first, _ = sdpa_attention_forward(module, own_query, own_key, own_value, None, **settings)
    behind = query[:, :, trunk_len:]
    rest, _ = sdpa_attention_forward(module, behind, key, value, attention_mask, **settings)
    return torch.cat([first, rest], dim=1), None


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)


def _leave_out_trunk(layer: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    """Before the last layer: keep the trunk's keys and values, and let it run for what follows.

    They go past the cache, if there is none: a layer that runs again in the backward pass takes no cache.
    """
    trunk_len = kwargs.pop('trunk_len', 0)
    if not trunk_len:
        return args, kwargs
    hidden, *others = args
    # The second name is that before transformers 5.24.
    has_cache = kwargs.get('cache', kwargs.get('past_key_values')) is not None
    trunk, rest = dict(kwargs), dict(kwargs)
    for name in ('position_ids', 'cache_position'):
        if kwargs.get(name) is not None:
            trunk[name], rest[name] = _cut(kwargs[name], trunk_len, dim=-1)
    cut = [_cut(table, trunk_len, dim=-2) for table in kwargs['position_embeddings']]
    trunk['position_embeddings'], rest['position_embeddings'] = (tuple(tables) for tables in zip(*cut))
    trunk['attention_mask'] = None
    before, behind = _cut(hidden, trunk_len, dim=1)
    kept: list[Tensor] = []
    layer.self_attn(layer.input_layernorm(before), **trunk, keep_in=kept)
    return (behind, *others), rest if has_cache else rest | {'kept': kept}


def _cut(tensor: Tensor, place: int, dim: int) -> tuple[Tensor, Tensor]:
    return tensor.narrow(dim, 0, place), tensor.narrow(dim, place, tensor.shape[dim] - place)
