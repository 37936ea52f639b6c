"""Tied embeddings: one matrix that is both the token embeddings and the output matrix."""

import dataclasses
import logging
from collections.abc import Container

import torch
from mmengine.logging import print_log
from torch import Tensor

from .key_map import EMBEDDINGS, KeyMap
from .trained_tensors import TrainedTensors

#: The output matrix in the native model.
_HEAD = 'mllm.lm_head.weight'


def embeddings_and_head(key_map: KeyMap) -> tuple[str, str]:
    """Names of the two in the released layout."""
    return key_map.released_name(EMBEDDINGS), key_map.released_name(_HEAD)


def with_tied_head(
    trained: TrainedTensors, key_map: KeyMap, stored: Container[str], where: str
) -> TrainedTensors:
    """What is trained, fitted to a base whose embeddings are tied; for any other, unchanged.

    The output matrix gets the value of the embeddings if the base stores it, and is left out
    if it does not.

    Args:
        trained: From a checkpoint. Ours name the embeddings only, upstream's both.
        key_map: Of the base.
        stored: Names of the base's tensors.
        where: Names the checkpoint in the warning.
    """
    if not key_map.backbone.is_tied:
        return trained
    replaced, (embeddings_name, head_name) = dict(trained.replaced), embeddings_and_head(key_map)
    head = replaced.pop(head_name, None)
    if head is not None:
        warn_if_untied(replaced.setdefault(embeddings_name, head), head, head_name, where)
    if embeddings_name in replaced and head_name in stored:
        replaced[head_name] = replaced[embeddings_name].clone()  # safetensors refuses shared memory
    rows = dict(trained.rows)
    if embeddings_name in rows and head_name in stored:
        rows[head_name] = rows[embeddings_name]
    return dataclasses.replace(trained, replaced=replaced, rows=rows)


def warn_if_untied(embeddings: Tensor, head: Tensor, head_name: str, where: str) -> None:
    """Warn if an output matrix ``head_name`` that is not read differs from the embeddings."""
    if embeddings.shape == head.shape and all(
        torch.equal(first.float(), second.float())  # in parts, to avoid a second matrix in float32
        for first, second in zip(embeddings.split(4096), head.split(4096))
    ):
        return
    print_log(
        f'{head_name} of {where} differs from the token embeddings, but config.json of the base has '
        'tie_word_embeddings=true for its language model. As in transformers it is not read: the embeddings '
        'are the output matrix. If it is meant to be read, tie_word_embeddings must be false.',
        'current',
        logging.WARNING,
    )
