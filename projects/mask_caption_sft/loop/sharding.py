"""What ranks do with the frozen base: each its own, or each a part."""

from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..sa2va.equal_passes import EqualPasses
from ..sa2va.frozen_shards import FrozenShards, frozen_matrices
from ..sa2va.sa2va import Sa2VA


def shard_frozen_layers(student: Sa2VA, teacher: Sa2VA) -> EqualPasses | None:
    """Split the frozen matrices of the language model's layers, which both share, over the ranks.

    They become no parameters, so nothing that averages, saves, loads or counts parameters meets them.

    Returns:
        What keeps the ranks together; None with a single process, which keeps everything.

    Raises:
        ValueError: There are no frozen matrices, or captions would be written past them.
    """
    if student.merge_to_write or student.compile_to_write:
        raise ValueError(
            'model.shard_frozen=True does not go with model.sa2va.merge_to_write or compile_to_write: one '
            'needs whole weights, the other runs layers without asking the other ranks. Set both to False.'
        )
    layers = [frozen_matrices(layer) for layer in student.language_model.layers]
    if not all(layers):
        raise ValueError(
            'model.shard_frozen=True, but the language model has layers without frozen weights. Set '
            'model.sa2va.train_all=False, or leave shard_frozen out.'
        )
    if get_world_size() == 1:
        return None
    shards = FrozenShards(layers, torch.device(get_device()))
    return EqualPasses([student.language_model, teacher.language_model], shards)


def leave_out_of_ddp(model: nn.Module, frozen: nn.Module) -> None:
    """Let DDP leave alone what is frozen in ``frozen``, a part of ``model``, and all buffers.

    Every rank has read them from the same file. DDP would send them at the start, which writes them, and so
    makes each rank's copy of a mapped file its own, and the buffers before every pass.
    """
    ours = {id(p) for p in frozen.parameters() if not p.requires_grad}
    names = [name for name, p in model.named_parameters() if id(p) in ours]
    names += [name for name, _ in model.named_buffers()]
    wrapper: Any = DistributedDataParallel
    wrapper._set_params_and_buffers_to_ignore_for_model(model, names)
