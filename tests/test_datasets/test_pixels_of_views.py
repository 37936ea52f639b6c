"""What the pipeline makes is what it made when every step went over whole images and masks."""

import numpy as np
import pytest
import torch
from _plain_views import PlainPackRegions, PlainSecondView
from PIL import Image, ImageEnhance

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs
from projects.mask_caption_sft.datasets.colours import change_colours
from projects.mask_caption_sft.datasets.resampling import pillow_resizer, torch_resizer
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.ops.pixels import normalize_tiles

SIZES = dict(max_tiles=6, image_size=56, grid_size=2, grounding_size=128)


def photo(size=(301, 402)):
    """Smooth noise with edges, ``[H, W, 3]``."""
    noise = np.random.default_rng(0).integers(0, 256, (size[0] // 7, size[1] // 7, 3), np.uint8)
    pixels = np.array(Image.fromarray(noise).resize((size[1], size[0])))
    pixels[40:80, 30:90] = (255, 0, 12)
    return pixels


@pytest.mark.parametrize('mirror_prob', [0.0, 1.0])
@pytest.mark.parametrize('full_masks', [False, True])
@pytest.mark.parametrize(
    ('name', 'kind'), [('sav', SAVPairs), ('sa1b', SA1B), ('openimages', OpenImages), ('refcoco', RefCOCO)]
)
def test_by_pillow_every_bit_is_that_of_the_plain_steps(written, name, kind, full_masks, mirror_prob):
    dataset = kind(data_root=str(written / name))
    made = []
    for second, pack in ((SecondView, PackRegions), (PlainSecondView, PlainPackRegions)):
        np.random.seed(3)
        results = {'sample': dataset.read_record(dataset.get_data_info(1))}
        for step in (ChooseRegions(4), second(mirror_prob=mirror_prob), pack(full_masks=full_masks, **SIZES)):
            results = step.transform(results)
        made.append(results['sample'])
    for found, plain in zip((made[0].view1, made[0].view2), (made[1].view1, made[1].view2)):
        assert found.image_id == plain.image_id
        assert torch.equal(normalize_tiles(found.pixel_values), plain.pixel_values)
        for part in ('g_pixel_values', 'visual_prompts', 'masks'):
            assert torch.equal(getattr(found, part), getattr(plain, part))
            assert getattr(found, part).is_contiguous()


@pytest.mark.parametrize('size', [(448, 336), (96, 128), (1024, 1024)])
def test_torch_resizes_within_two_grey_levels_of_pillow(size):
    by_pillow, by_torch = (make(photo())(*size).int() for make in (pillow_resizer, torch_resizer))
    difference = (by_pillow - by_torch).abs()
    assert difference.max() <= 2  # two at hard edges, enlarged
    assert difference.float().mean() < 0.02


def test_training_may_resize_by_torch_and_validation_may_not():
    with pytest.raises(ValueError, match=r"full_masks=True is for validation.*leave out resampling='torch'"):
        PackRegions(full_masks=True, resampling='torch', **SIZES)
    with pytest.raises(ValueError, match="resampling='cubic' is not one of 'pillow', 'torch'"):
        PackRegions(resampling='cubic', **SIZES)


@pytest.mark.parametrize(
    'factors', [(0.8, 1.2, 0.8), (1.2, 0.8, 1.2), (1.13, 1.07, 0.0), (1, 1, 1), (0.3, 2, 3)]
)
def test_colours_are_those_of_pillows_enhancers(factors):
    image = Image.fromarray(photo())
    expected = image
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhance, factor in zip(kinds, factors):
        expected = enhance(expected).enhance(factor)
    assert change_colours(image, *factors).tobytes() == expected.tobytes()
