"""The trained base of the tiny world, images for it, and ways to make it answer otherwise."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from projects.mask_caption_sft.checkpoints.config import read_config
from projects.mask_caption_sft.datasets import RefCOCO, collate_regions
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions
from projects.mask_caption_sft.sa2va.base_sizes import base_sizes
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionBatch, RegionSample
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE
from projects.mask_caption_sft.tiny_world.writers import write_refcoco


def tiny_base(folder: Path = TRAINED_BASE, **kwargs) -> Sa2VA:
    """It was trained to answer "Sure, [SEG]."."""
    return Sa2VA(folder, **kwargs).eval()


def write_images(folder: Path, num_images: int = 4, base: Path = TRAINED_BASE) -> list[RegionSample]:
    """Drawn images with all their expressions, some twenty of them, cut as a base needs them."""
    write_refcoco(folder, 1, num_images, np.random.default_rng(0), limited=True)
    stated = asdict(base_sizes(read_config(str(base))))
    sizes = PackRegions(
        max_tiles=1, min_pixels=32 * 32, full_masks=True, **{name: stated[name] for name in PackRegions.SIZES}
    )
    dataset = RefCOCO(
        data_root=str(folder), split='val', every_expression=True, seed=0, name='refcoco_val',
        pipeline=[ChooseRegions(None), sizes],
    )  # fmt: skip
    return [dataset[i] for i in range(len(dataset))]


def as_batch(samples: list[RegionSample]) -> RegionBatch:
    return collate_regions(samples)['batch']


@torch.no_grad()
def cannot_write_seg(model: Sa2VA) -> Sa2VA:
    """The row of ``[SEG]`` in the output matrix is zero: its score is never the largest."""
    model.mllm.lm_head.weight[model.text.seg_token_id] = 0
    return model


@torch.no_grad()
def says_instead(model: Sa2VA, **words: str) -> Sa2VA:
    """The model writes (and reads) one token for another, with the hidden states it always had.

    Args:
        words: token = its replacement, each one token that no prompt holds.
    """
    tokenizer = model.text.tokenizer
    for token, replacement in words.items():
        pair = tokenizer.convert_tokens_to_ids([token, replacement])
        for module in (model.mllm.lm_head, model.mllm.get_input_embeddings()):
            module.weight[pair] = module.weight[pair[::-1]].clone()
    return model
