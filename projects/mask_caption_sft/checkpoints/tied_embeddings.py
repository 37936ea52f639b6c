"""Tied embeddings: one matrix that is both the token embeddings and the output matrix."""

import dataclasses
import logging
from collections.abc import Container
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from .trained_tensors import TrainedTensors

#: Names of the two in the released layout.
EMBEDDINGS = 'language_model.model.embed_tokens.weight'
HEAD = 'language_model.lm_head.weight'


def is_tied(config: dict[str, Any]) -> bool:
    """Whether the language model of a ``config.json`` has one matrix for both.

    ``llm_config`` decides, as for ``Qwen2Config``, where the default is False. The value at the
    top level says nothing: Sa2VA's own configuration class overwrites it.
    """
    return bool(config['llm_config'].get('tie_word_embeddings', False))


def with_tied_head(
    trained: TrainedTensors, config: dict[str, Any], stored: Container[str], where: str
) -> TrainedTensors:
    """What is trained, fitted to a base whose embeddings are tied; for any other, unchanged.

    The output matrix gets the value of the embeddings if the base stores it, and is left out
    if it does not.

    Args:
        trained: From a checkpoint. Ours name the embeddings only, upstream's both.
        config: ``config.json`` of the base.
        stored: Names of the base's tensors.
        where: Names the checkpoint in the warning.
    """
    if not is_tied(config):
        return trained
    replaced = dict(trained.replaced)
    head = replaced.pop(HEAD, None)
    if head is not None:
        warn_if_untied(replaced.setdefault(EMBEDDINGS, head), head, where)
    if EMBEDDINGS in replaced and HEAD in stored:
        replaced[HEAD] = replaced[EMBEDDINGS].clone()  # safetensors refuses shared memory
    return dataclasses.replace(trained, replaced=replaced)


def warn_if_untied(embeddings: Tensor, head: Tensor, where: str) -> None:
    """Warn if an output matrix that is not read differs from the embeddings."""
    if embeddings.shape == head.shape and all(
        torch.equal(first.float(), second.float())  # in parts, to avoid a second matrix in float32
        for first, second in zip(embeddings.split(4096), head.split(4096))
    ):
        return
    print_log(
        f'{HEAD} of {where} differs from the token embeddings, but config.json of the base has '
        'llm_config.tie_word_embeddings=true. As in transformers it is not read: the embeddings are the '
        'output matrix. If it is meant to be read, tie_word_embeddings must be false.',
        'current',
        logging.WARNING,
    )
