"""Losses on the words of a caption."""

import torch.nn.functional as F
from torch import Tensor

from ..ops.precision import at_least_float32
from ..ops.xtuner_parts import IGNORE_INDEX


def caption_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Token cross-entropy, averaged over the tokens of each text.

    Args:
        logits: ``[R, L, V]`` float; ``logits[:, t]`` predicts ``targets[:, t]``.
        targets: ``[R, L]`` long; ``IGNORE_INDEX`` (-100) does not count.

    Returns:
        ``[R]``; 0 (with a gradient) for a text without tokens.
    """
    counts = (targets != IGNORE_INDEX).sum(1).clamp(min=1)
    return token_losses(logits, targets).sum(1) / counts


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each token, ``[R, L]``; 0 where the target is ``IGNORE_INDEX``. Arguments as above."""
    return F.cross_entropy(
        at_least_float32(logits).flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction='none'
    ).view(targets.shape)


def kl_loss(logits: Tensor, reference_logits: Tensor, mask: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence from the reference, averaged over the tokens of each caption.

    .. math:: \mathrm{KL}(p \,\|\, q) = \sum_k p_k (\log p_k - \log q_k)

    Args:
        logits: ``[R, L, V]`` of the model in training (:math:`p`).
        reference_logits: ``[R, L, V]`` of the model before training (:math:`q`), without gradient.
        mask: ``[R, L]`` bool, which positions count.

    Returns:
        ``[R]``, each at least 0.
    """
    log_p = at_least_float32(logits).log_softmax(-1)
    log_q = at_least_float32(reference_logits).log_softmax(-1)
    divergence = F.kl_div(log_q, log_p, reduction='none', log_target=True).sum(-1)
    return (divergence * mask).sum(1) / mask.sum(1).clamp(min=1)
