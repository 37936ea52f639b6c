"""The example of docs/datasets.md works as it stands there."""

from pathlib import Path

import numpy as np
from PIL import Image

from projects.mask_caption_sft.datasets.mix import RegionMix
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.structures import BrokenRecord


def test_a_dataset_of_ones_own(tmp_path):
    text = Path('docs/datasets.md').read_text()
    scope: dict = {}  # the example brings its own imports
    exec(text.split('```python\n')[1].split('```')[0], scope)
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 10:40] = 255
    for name in ('a', 'b'):
        Image.new('RGB', (80, 60), (200, 10, 10)).save(tmp_path / f'{name}.jpg')
    Image.fromarray(mask).save(tmp_path / 'a_mask.png')
    pipeline = [
        ChooseRegions(4),
        SecondView(),
        PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
    ]
    mine = dict(type=scope['FolderOfMasks'], data_root=str(tmp_path), weight=1.0, pipeline=pipeline)
    mix = RegionMix({'mine': mine})
    good, broken = sorted((mix[0], mix[1]), key=lambda sample: isinstance(sample, BrokenRecord))
    assert good.dataset == 'mine'
    assert good.view1.masks.shape == (1, 32, 32)
    assert 'b_mask.png' in broken.reason
