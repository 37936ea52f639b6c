"""A model is asked about one image, as arrays: a mask becomes a caption, a text becomes masks."""

import numpy as np
import torch
from PIL import Image

from ..datasets.image_cut import ImageCut, image_cut
from ..datasets.resampling import pillow_resizer
from ..datasets.transforms import PackRegions
from ..loop.predict import REGIONS_AT_ONCE, upsample_mask
from ..loop.rerank import describe_best
from ..ops.mask import resize_masks
from ..ops.seeding import torch_seed
from ..ops.visual_prompt import visual_prompt_grid
from ..sa2va.answer import answer, region_question, segment_question
from ..sa2va.sa2va import Sa2VA
from ..structures import ImageFeatures, RegionViews

#: In tokens, where several captions are written; as in configs/mask_caption_sft_4b_official.py.
MAX_CAPTION_LEN = 128


def cut_for(model: Sa2VA, max_tiles: int | None = None) -> ImageCut:
    """How the model's images are cut; by default into as many tiles, or pixels, as it was trained for."""
    stated = model.config
    if max_tiles is None:
        max_tiles = stated.get('max_dynamic_patch', PackRegions.MAX_TILES)
    limits = dict(min_pixels=stated.get('min_pixels'), max_pixels=stated.get('max_pixels'))
    sizes = model.sizes
    return image_cut(sizes.image_cut, sizes.image_size, sizes.grid_size, max_tiles=max_tiles, **limits)


def encode(model: Sa2VA, image: Image.Image, max_tiles: int | None = None) -> ImageFeatures:
    """Features of one image; by default in as many tiles as the model was trained for."""
    cut = cut_for(model, max_tiles)
    resize, side = pillow_resizer(image), model.grounding_size
    tiles = cut.pixels(resize, image.size).to(model.device)
    pixels = resize(side, side).contiguous().to(model.device)
    return model.encode_images(tiles, [len(tiles)], pixels[None], grids=[cut.grid(*image.size)])


def describe_mask(
    model: Sa2VA,
    features: ImageFeatures,
    mask: np.ndarray,
    num_captions: int = 1,
    allow_empty_prompt: bool = False,
) -> str:
    """Caption of a region: the greedy one, or the best of several.

    Args:
        model: In eval mode.
        features: Of its image.
        mask: ``[H, W]`` bool, at the size of the image.
        num_captions: With more than one, all but the first are sampled, see :func:`describe_best`.
        allow_empty_prompt: As upstream: a mask smaller than a cell may mark none.
    """
    masks = torch.from_numpy(mask)[None].to(model.device)
    assert features.grids is not None
    cells = visual_prompt_grid(masks, features.grids[0], at_least_one=not allow_empty_prompt)
    if num_captions == 1:
        return answer(model, features, region_question(model, features, cells)).text
    first = torch.zeros(1, dtype=torch.long, device=model.device)
    views = RegionViews(features, first, cells, resize_masks(masks, (model.sizes.mask_size,) * 2))
    with torch_seed(model.device):
        return describe_best(model, views, MAX_CAPTION_LEN, num_captions, at_once=REGIONS_AT_ONCE).texts[0]


def segment_text(
    model: Sa2VA, features: ImageFeatures, text: str, size: tuple[int, int]
) -> tuple[str, list[np.ndarray]]:
    """What the model says, and a mask ``[H, W]`` bool for every ``[SEG]`` in it; maybe none.

    Args:
        model: In eval mode.
        features: Of the image.
        text: What to segment.
        size: Height and width of the image.
    """
    found = answer(model, features, segment_question(model, features, text))
    masks = [upsample_mask(logits, model.grounding_size, size).cpu().numpy() for logits in found.mask_logits]
    return found.text, masks
