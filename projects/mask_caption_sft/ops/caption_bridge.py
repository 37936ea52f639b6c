"""A caption's tokens as embeddings that gradients flow through."""

# Shape suffixes: R regions, T caption tokens, V vocabulary, K candidates, D embedding width.

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_float32


@dataclass
class TokenTwins:
    """How the tokens of an answer are read inside the segment prompt, where other letters surround them.

    Attributes:
        first: ``[V]`` long: the first token follows a space there; token k is read as ``first[k]``.
        last: ``[V]`` long: a token that also holds the end of turn's first letters is read without them.
        shared: ``[R, T]`` bool, true at such tokens.
    """

    first: Tensor
    last: Tensor
    shared: Tensor

    def read(self, ids_RT: Tensor) -> Tensor:
        """Ids ``[R, T]``, or K candidates ``[R, T, K]`` for each, as the prompt's ids."""
        shared = self.shared.view(*self.shared.shape, *[1] * (ids_RT.dim() - 2))
        ids_RT = torch.where(shared, self.last[ids_RT], ids_RT)
        return torch.cat([self.first[ids_RT[:, :1]], ids_RT[:, 1:]], dim=1)


def soft_tokens(
    logits_RTV: Tensor,
    embedding_VD: Tensor,
    temperature: float,
    top_k: int,
    twins: TokenTwins | None = None,
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
        twins: Which token each one is read as; None for the same.

    Returns:
        ``[R, T, D]`` in the embedding's dtype.

    Raises:
        ValueError: ``temperature`` or ``top_k`` is not positive.
    """
    if temperature <= 0 or top_k < 1:
        raise ValueError(f'temperature={temperature} and top_k={top_k} must be positive.')
    scores_RTK, ids_RTK = at_least_float32(logits_RTV).topk(min(top_k, logits_RTV.shape[-1]), dim=-1)
    choice_RTK = (scores_RTK / temperature).softmax(dim=-1)
    candidates_RTKD = F.embedding(_read(ids_RTK, twins), embedding_VD)
    return torch.einsum('rtk,rtkd->rtd', choice_RTK.to(candidates_RTKD.dtype), candidates_RTKD)


def straight_through(
    logits_RTV: Tensor,
    ids_RT: Tensor,
    embedding_VD: Tensor,
    temperature: float,
    twins: TokenTwins | None = None,
) -> Tensor:
    r"""Exactly the caption forward; the gradient of its softmax backward, which is biased.

    .. math:: y_t = \mathrm{onehot}(c_t) - \mathrm{sg}(p_t) + p_t, \quad e_t = \sum_k y_{tk} E[k]

    Args:
        logits_RTV: ``[R, T, V]``.
        ids_RT: ``[R, T]`` long, the caption :math:`c`.
        embedding_VD, temperature, twins: As for :func:`soft_tokens`.

    Returns:
        ``[R, T, D]``, equal to the embeddings of ``ids_RT``.

    Source:
        Bengio et al., arXiv:1308.3432.
    """
    if temperature <= 0:
        raise ValueError(f'temperature={temperature} must be positive.')
    choice_RTV = (at_least_float32(logits_RTV) / temperature).softmax(dim=-1).to(embedding_VD.dtype)
    expected_RTD = _expected(choice_RTV, embedding_VD, twins)
    exact_RTD = F.embedding(_read(ids_RT, twins), embedding_VD)
    # Grouped so that the forward value is exact, not exact up to rounding.
    return exact_RTD + (expected_RTD - expected_RTD.detach())


def _read(ids: Tensor, twins: TokenTwins | None) -> Tensor:
    return ids if twins is None else twins.read(ids)


def _expected(choice_RTV: Tensor, embedding_VD: Tensor, twins: TokenTwins | None) -> Tensor:
    expected_RTD = choice_RTV @ embedding_VD
    if twins is None or not choice_RTV.shape[1]:
        return expected_RTD
    shared_RT1, first_R1V = twins.shared[..., None], choice_RTV[:, :1]
    last_RTD = choice_RTV @ embedding_VD[twins.last]
    first_R1D = torch.where(
        shared_RT1[:, :1],
        first_R1V @ embedding_VD[twins.first[twins.last]],
        first_R1V @ embedding_VD[twins.first],
    )
    return torch.cat([first_R1D, torch.where(shared_RT1, last_RTD, expected_RTD)[:, 1:]], dim=1)
