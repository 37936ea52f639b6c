"""Tiles travel as bytes and become what they always were."""

import numpy as np
import torch

from projects.mask_caption_sft.datasets import SA1B, collate_regions
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.ops.pixels import normalize_tiles
from projects.mask_caption_sft.tiny_world import writers
from tests.miniature import miniature_sa2va


def every_value():
    """``[1, 3, 16, 16]``: each of the 256 values once in each channel."""
    return torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)


def test_each_value_of_each_channel_has_the_bits_of_the_formula():
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = every_value().permute(0, 2, 3, 1).contiguous()
    before = ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
    assert torch.equal(normalize_tiles(every_value()), before)
    assert normalize_tiles(every_value()).is_contiguous()


def test_normalised_tiles_stay_as_they_are():
    tiles = torch.randn(2, 3, 4, 4)
    assert normalize_tiles(tiles) is tiles


def test_the_vit_sees_the_same_from_bytes_and_from_what_was_sent_before():
    model = miniature_sa2va().eval()
    tiles = torch.randint(0, 256, (2, 3, 56, 56), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(model.encode_tiles(tiles), model.encode_tiles(normalize_tiles(tiles)))


def test_a_batch_is_of_bytes(tmp_path):
    writers.write_sa1b(tmp_path, 2, np.random.default_rng(0))
    sizes = dict(image_size=56, grid_size=2, grounding_size=128)
    pipeline = [ChooseRegions(1), SecondView(), PackRegions(max_tiles=6, **sizes)]
    dataset = SA1B(data_root=str(tmp_path), pipeline=pipeline)
    batch = collate_regions([dataset[0], dataset[1]])['batch']
    assert batch.pixel_values.dtype == batch.g_pixel_values.dtype == torch.uint8


def test_bytes_are_at_most_two_fifths_of_what_was_sent_before(tmp_path):
    writers.write_sa1b(tmp_path, 1, np.random.default_rng(0))
    sizes = dict(image_size=448, grid_size=16, grounding_size=1024)
    pipeline = [ChooseRegions(4), SecondView(), PackRegions(max_tiles=6, resampling='torch', **sizes)]
    batch = collate_regions([SA1B(data_root=str(tmp_path), pipeline=pipeline)[0]])['batch']
    tensors = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    now = sum(tensor.nbytes for tensor in (*tensors, *batch.masks1, *batch.masks2))
    before = now - batch.pixel_values.nbytes + normalize_tiles(batch.pixel_values).nbytes
    assert now <= 0.4 * before
