"""How much of what runs is padding, on the draws of the 4B's mix.

Images have the sizes that the datasets usually have; the model is a miniature with the 4B's 256 tokens per
tile, so that sequences are as long as the 4B's.
"""

import pytest
import torch
from mmengine.config import Config

from projects.mask_caption_sft.benchmarking.census import Census, take_census
from projects.mask_caption_sft.benchmarking.sizes import open_objectives, random_batch
from projects.mask_caption_sft.datasets.tiling import tile_grid
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from tests.miniature import LORA, SIZES

CONFIG = Config.fromfile('configs/mask_caption_sft_4b.py')
#: Width and height of the images of each dataset; SA-V's first form is 512 x 512 (docs/datasets.md).
IMAGES = dict(
    sav=(512, 512), sa1b=(2250, 1500), openimages=(1024, 683),
    refcoco=(640, 480), refcoco_plus=(640, 480), refcocog=(480, 640),
)  # fmt: skip


def num_tiles(name: str) -> int:
    """As the config cuts an image of a dataset, thumbnail included."""
    max_tiles = CONFIG.train_dataloader.dataset.datasets[name].pipeline[-1].max_tiles
    columns, rows = tile_grid(*IMAGES[name], 448, max_tiles)
    return columns * rows + (columns * rows > 1)


@pytest.fixture(scope='module')
def model() -> MaskCaptionSFT:
    sa2va = new_sa2va(0, SIZES | {'image_size': 448}, lora=LORA)
    assert sa2va.sizes.grid_size**2 == 256
    return MaskCaptionSFT(sa2va, objectives=open_objectives(), max_caption_len=8).train()


def census_of(model: MaskCaptionSFT, names: tuple[str, str]) -> Census:
    """A step on two images of these datasets."""
    tiles = [num_tiles(name) for name in names]
    batch = random_batch(model, num_images=2, num_tiles=tiles)
    return take_census(
        model,
        [model.student, model.teacher],
        lambda: model.parse_losses(model.loss(batch))[0],
        prompt_flops=1,
    )


def test_a_frame_of_sav_is_one_tile_and_a_photograph_seven():
    assert {name: num_tiles(name) for name in IMAGES} == dict.fromkeys(IMAGES, 7) | dict(sav=1)


@pytest.mark.slow
def test_at_most_a_twentieth_of_the_mix_is_padding(model):
    """By the config's weights: two of SA-V, one of SA-V beside another, two others."""
    datasets = CONFIG.train_dataloader.dataset.datasets
    total = sum(dataset.weight for dataset in datasets.values())
    share = datasets.sav.weight / total
    pairs = {('sav', 'sav'): share**2, ('sav', 'sa1b'): 2 * share * (1 - share)}
    pairs[('sa1b', 'refcoco')] = (1 - share) ** 2
    torch.manual_seed(0)
    padding = tokens = 0.0
    for names, probability in pairs.items():
        census = census_of(model, names)
        assert census.padding_ratio() <= 0.05, names
        padding += probability * sum(call.num_padding for call in census.calls_of())
        tokens += probability * census.tokens()
    print(f'{100 * padding / tokens:.2f} % of the tokens of the mix are padding')
    assert 0 < padding / tokens < 0.05
