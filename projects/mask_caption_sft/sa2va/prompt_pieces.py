"""The embedded pieces that prompts are made of.

Text is tokenised from special token to special token, as one string would be: a piece ends where a special
token does.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..ops import prompts
from ..structures import Piece, TextEmbeds, join

if TYPE_CHECKING:
    from .sa2va import Sa2VA


def image_piece(model: 'Sa2VA', image: Piece) -> Piece:
    """How every prompt begins, up to the end of the image."""
    return join(
        [
            model.embed_beginning(model.text.template.before_input + model.backbone.image_start),
            image,
            model.embed_text(model.backbone.image_end),
        ]
    )


def describe_piece(model: 'Sa2VA', image: Piece, visual_prompts: Tensor, region: int = 1) -> Piece:
    """Asks for a description of one of the regions ``[N, g, g]`` of the image before it.

    Args:
        model: Whose embeddings and template are used.
        image: From :meth:`Sa2VA.image_tokens`.
        visual_prompts: ``[N, g, g]`` bool, the regions that the prompt shows.
        region: Which of them to describe, counted from 1.
    """
    parts: list[Piece | Tensor] = []
    lead = prompts.DESCRIBE_INTRO.format(count=len(visual_prompts))
    for number, cells in enumerate(visual_prompts, start=1):
        parts += [
            model.embed_text(f'{lead if number == 1 else ", "}region{number}{prompts.VP_START}'),
            model.backbone.region_tokens(image, cells),
            model.embed_text(prompts.VP_END),
        ]
    question = prompts.describe_question(region) + model.text.template.before_answer
    return join([*parts, model.embed_text(question)])


def segment_pieces(model: 'Sa2VA', texts: TextEmbeds, follows_image: bool = True) -> list[Tensor]:
    """``[L, D]`` each: asks for the mask of each text in the image before it, up to the answer."""
    suffix = model.embed_inside(prompts.SEGMENT_SUFFIX + model.text.template.before_answer)
    prefix = [model.embed_text(prompts.SEGMENT_PREFIX)] if follows_image else []
    rows = zip(texts.embeds, texts.mask)
    return [torch.cat([*prefix, text[keep].to(suffix.dtype), suffix]) for text, keep in rows]


def imageless_piece(model: 'Sa2VA') -> Tensor:
    """``[L, D]``: how a segment prompt begins for a model that is shown no image."""
    return model.embed_beginning(model.text.template.before_input + prompts.SEGMENT_PREFIX)
