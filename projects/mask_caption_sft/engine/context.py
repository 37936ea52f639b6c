"""Whether the longest prompt that a config's data allow fits the model's context."""

import inspect
from dataclasses import asdict

from mmengine.config import Config

from ..datasets.image_cut import ImageCut
from ..datasets.transforms import PackRegions
from ..ops import prompts
from ..sa2va.sa2va import Sa2VA
from .base_sizes import packers


def context_problems(config: Config, student: Sa2VA) -> list[str]:
    """Check the longest sequence: every tile, a region over its whole grid, the longest caption.

    Returns:
        A message for each ``PackRegions`` that allows too much, with the numbers that would fit.
    """
    sizes, problems = student.sizes, []
    default = inspect.signature(config.model['type']).parameters['max_caption_len'].default
    caption_len = config.model.get('max_caption_len', default)
    words = len(student.text.encode_beginning(describe_text(student)))
    room = sizes.max_context - words
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for key, transform in packers(config.get(loader), loader):
            cut = PackRegions.cut_of(asdict(sizes) | dict(transform))
            if cut.most_tokens() + caption_len > room:
                problems.append(
                    f'{key}.{cut.setting}={getattr(cut, cut.setting)}: a prompt of up to '
                    f'{cut.most_tokens() + words} tokens ({cut.most_tiles() * sizes.grid_size**2} of the '
                    f"image) and model.max_caption_len={caption_len} exceed the model's context of "
                    f'{sizes.max_context}. {_what_fits(cut, room, caption_len)}'
                )
    return problems


def _what_fits(cut: ImageCut, room: int, caption_len: int) -> str:
    """Advice where image, region and caption together exceed the room beside the words."""
    fits, advice = cut.setting_for(room - caption_len), []
    if fits > 0:
        advice.append(f'{cut.setting} to {fits}')
    if room > cut.most_tokens():
        advice.append(f'model.max_caption_len to {room - cut.most_tokens()}')
    if not advice:
        smallest = 2 * cut.grid_size**2  # one tile, and a region all over it
        return (
            f'Lower model.max_caption_len to {max(room - smallest, 0)} and {cut.setting} to '
            f'{cut.setting_for(smallest)}.'
        )
    return f'Lower {" or ".join(advice)}.'


def describe_text(student: Sa2VA) -> str:
    """All words of a prompt that asks for a caption, and the marker that ends the answer."""
    template, backbone = student.text.template, student.backbone
    before = template.before_input + backbone.image_start + backbone.image_end
    region = f'{prompts.DESCRIBE_INTRO.format(count=1)}region1{prompts.VP_START}{prompts.VP_END}'
    return before + region + prompts.describe_question() + template.before_answer + template.end_of_turn
