"""The example of docs/datasets.md works as it stands there."""

import re
import shutil
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from projects.mask_caption_sft.datasets.mix import RegionMix
from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.structures import BrokenRecord


def pasted(folder):
    """Both files of the example where it says, beside the configs; returns the config's path."""
    text = Path('docs/datasets.md').read_text().split('## A format of your own')[1]
    shutil.copytree('configs', folder / 'configs')
    for name, block in re.findall(r'As `([^`]+)`.*?```python\n(.*?)```', text, re.DOTALL):
        (folder / name).write_text(block)
    return folder / 'configs' / 'my_masks_4b.py'


def test_a_dataset_of_ones_own(tmp_path, monkeypatch):
    path = pasted(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    config = Config.fromfile(path, format_python_code=False)
    declared = config.train_dataloader.dataset.datasets
    assert 'sa1b' in declared  # the mix stays
    mine = dict(declared['mine'])
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 10:40] = 255
    root = tmp_path / mine['data_root']
    root.mkdir(parents=True)
    for name in ('a', 'b'):
        Image.new('RGB', (80, 60), (200, 10, 10)).save(root / f'{name}.jpg')
    Image.fromarray(mask).save(root / 'a_mask.png')
    mine['data_root'] = str(root)
    for step in mine['pipeline']:
        if step['type'] is PackRegions:  # as the tools do it, from the base
            step.update(max_tiles=1, image_size=56, grid_size=2, grounding_size=128)
    mix = RegionMix({'mine': mine})
    good, broken = sorted((mix[0], mix[1]), key=lambda sample: isinstance(sample, BrokenRecord))
    assert good.dataset == 'mine'
    assert good.view1.masks.shape == (1, 32, 32)
    assert 'b_mask.png' in broken.reason
