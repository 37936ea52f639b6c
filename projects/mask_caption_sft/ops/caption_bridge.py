"""A caption's tokens as embeddings that gradients flow through."""

# Shape suffixes: R regions, T caption tokens, V vocabulary, K candidates, D embedding width.

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32


def soft_tokens(
    logits_RTV: Tensor,
    embedding_VD: Tensor,
    temperature: float,
    top_k: int,
    first_token_map: Tensor | None = None,
) -> Tensor:
    r"""Expected embedding of each caption token; exact gradient, blurred caption.

    .. math:: e_t = \sum_{k \in \text{top-}K} p_{tk} E[k], \quad
              p_t = \mathrm{softmax}(\text{logits}_t / \tau)

    As the temperature falls the result approaches the embedding of the likeliest token.

    Args:
        logits_RTV: ``[R, T, V]``; ``-inf`` for tokens that cannot be written.
        embedding_VD: ``[V, D]`` token embeddings of the model that reads the caption.
        temperature: :math:`\tau > 0`.
        top_k: Candidates per position; the vocabulary if that is smaller.
        first_token_map: ``[V]`` long; at position 0 token k is read as
            ``first_token_map[k]`` (its twin with a leading space).

    Returns:
        ``[R, T, D]`` in the embedding's dtype.

    Raises:
        ValueError: ``temperature`` or ``top_k`` is not positive.
    """
    if temperature <= 0 or top_k < 1:
        raise ValueError(f'temperature={temperature} and top_k={top_k} must be positive.')
    scores_RTK, ids_RTK = at_least_float32(logits_RTV).topk(min(top_k, logits_RTV.shape[-1]), dim=-1)
    choice_RTK = (scores_RTK / temperature).softmax(dim=-1)
    candidates_RTKD = F.embedding(_map_first(ids_RTK, first_token_map), embedding_VD)
    return torch.einsum('rtk,rtkd->rtd', choice_RTK.to(candidates_RTKD.dtype), candidates_RTKD)


def straight_through(
    logits_RTV: Tensor,
    ids_RT: Tensor,
    embedding_VD: Tensor,
    temperature: float,
    first_token_map: Tensor | None = None,
) -> Tensor:
    r"""Exactly the caption forward; the gradient of its softmax backward, which is biased.

    .. math:: y_t = \mathrm{onehot}(c_t) - \mathrm{sg}(p_t) + p_t, \quad e_t = \sum_k y_{tk} E[k]

    Args:
        logits_RTV: ``[R, T, V]``.
        ids_RT: ``[R, T]`` long, the caption :math:`c`.
        embedding_VD, temperature, first_token_map: As for :func:`soft_tokens`.

    Returns:
        ``[R, T, D]``, equal to the embeddings of ``ids_RT``.

    Source:
        Bengio et al., arXiv:1308.3432.
    """
    if temperature <= 0:
        raise ValueError(f'temperature={temperature} must be positive.')
    choice_RTV = (at_least_float32(logits_RTV) / temperature).softmax(dim=-1).to(embedding_VD.dtype)
    expected_RTD = choice_RTV @ embedding_VD
    if first_token_map is not None and logits_RTV.shape[1] > 0:
        first_R1D = choice_RTV[:, :1] @ embedding_VD[first_token_map]
        expected_RTD = torch.cat([first_R1D, expected_RTD[:, 1:]], dim=1)
    exact_RTD = F.embedding(_map_first(ids_RT, first_token_map), embedding_VD)
    # Grouped so that the forward value is exact, not exact up to rounding.
    return exact_RTD + (expected_RTD - expected_RTD.detach())


def _map_first(ids: Tensor, first_token_map: Tensor | None) -> Tensor:
    """``[R, T, ...]`` ids with position 0 sent through the map."""
    if first_token_map is None:
        return ids
    return torch.cat([first_token_map[ids[:, :1]], ids[:, 1:]], dim=1)
