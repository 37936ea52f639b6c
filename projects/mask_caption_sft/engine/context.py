"""Whether the longest prompt that a config's data allow fits the model's context."""

import inspect

from mmengine.config import Config

from ..datasets.transforms import PackRegions
from ..ops import prompts
from ..sa2va.sa2va import Sa2VA
from .base_sizes import packers


def context_problems(config: Config, student: Sa2VA) -> list[str]:
    """Check the longest sequence: every tile, a region over the whole thumbnail, the longest caption.

    Returns:
        A message for each ``PackRegions`` that allows too much, with the numbers that would fit.
    """
    sizes, problems = student.sizes, []
    default = inspect.signature(config.model['type']).parameters['max_caption_len'].default
    caption_len = config.model.get('max_caption_len', default)
    per_tile = sizes.grid_size**2
    around = len(student.text.encode_beginning(describe_text(student))) + per_tile
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for key, transform in packers(config.get(loader), loader):
            tiles = transform.get('max_tiles', PackRegions.MAX_TILES)
            images = (tiles + (tiles > 1)) * per_tile
            if images + around + caption_len > sizes.max_context:
                problems.append(
                    f'{key}.max_tiles={tiles}: a prompt of up to {images + around} tokens ({images} of the '
                    f"image) and model.max_caption_len={caption_len} exceed the model's context of "
                    f'{sizes.max_context}. '
                    + _what_fits(sizes.max_context - around, images, caption_len, per_tile)
                )
    return problems


def _what_fits(room: int, images: int, caption_len: int, per_tile: int) -> str:
    num_tiles = (room - caption_len) // per_tile  # two of them are a tile and its thumbnail
    max_tiles = num_tiles - 1 if num_tiles > 2 else min(num_tiles, 1)
    advice = []
    if max_tiles > 0:
        advice.append(f'max_tiles to {max_tiles}')
    if room > images:
        advice.append(f'model.max_caption_len to {room - images}')
    if not advice:
        return f'Lower model.max_caption_len to {max(room - per_tile, 0)} and max_tiles to 1.'
    return f'Lower {" or ".join(advice)}.'


def describe_text(student: Sa2VA) -> str:
    """All words of a prompt that asks for a caption, and the marker that ends the answer."""
    template, backbone = student.text.template, student.backbone
    before = template.before_input + backbone.image_start + backbone.image_end
    region = f'{prompts.DESCRIBE_INTRO.format(count=1)}region1{prompts.VP_START}{prompts.VP_END}'
    return before + region + prompts.describe_question() + template.before_answer + template.end_of_turn
