"""A grounding encoder driven by a language embedding instead of clicks; SAM 2 and SAM 3 alike."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Without gradient, so that memory does not grow with the number of captions that are compared.
_MASKS_AT_ONCE = 8
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The logit of a mask of nothing, as upstream's SAM 3 has it.
_EMPTY = -1024.0


def normalize_pixels(g_pixel_values: Tensor, round_stats: bool, dtype: torch.dtype) -> Tensor:
    """ImageNet normalisation of raw pixels.

    Args:
        g_pixel_values: ``[I, 3, G, G]`` uint8 or float in 0..255.
        round_stats: Round mean and std to bfloat16, as upstream's inference
            does even in float32 (0.03 in mask logits); its training does not.
        dtype: Type of the result.
    """
    mean = torch.tensor(_MEAN, device=g_pixel_values.device).view(3, 1, 1)
    std = torch.tensor(_STD, device=g_pixel_values.device).view(3, 1, 1)
    if round_stats:
        mean, std = mean.bfloat16().float(), std.bfloat16().float()
    return ((g_pixel_values.float() / 255 - mean) / std).to(dtype)


def encode_pixels(native: Any, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """FPN levels ``[I, C, h, w]``, finest first; ``no_mem_embed`` is added to the coarsest."""
    fine, middle, coarse = native.vision_encoder(pixel_values).fpn_hidden_states
    return fine, middle, coarse + native.no_memory_embedding.view(1, -1, 1, 1)


def decode_masks(
    native: Any,
    grounding: tuple[Tensor, Tensor, Tensor],
    image_index: Tensor,
    seg_embeds: Tensor,
    recompute: bool = False,
    empty_without_object: bool = False,
) -> tuple[Tensor, Tensor]:
    """Masks for R language embeddings.

    Args:
        native: The grounding encoder.
        grounding: FPN levels of I images, see :func:`encode_pixels`.
        image_index: ``[R]`` long, the row of ``grounding`` for each embedding.
        seg_embeds: ``[R, C]``.
        recompute: Keep nothing of the decoder for the backward pass (some 100 MB per mask of 256 x 256
            in float32), which runs it again.
        empty_without_object: Masks whose object score is not positive are empty. Not where a gradient is
            wanted, of which an empty mask has none: what is learned from is what was drawn.

    Returns:
        All three candidates' logits ``[R, 3, h, w]`` and predicted IoU ``[R, 3]``.
    """
    decoder: Any = native.mask_decoder
    fine, middle, coarse = grounding
    # The convolutions are the decoder's own: once per distinct image, then spread over regions.
    levels = decoder.conv_s0(fine), decoder.conv_s1(middle), coarse
    if torch.is_grad_enabled():
        parts = [(image_index, seg_embeds)]
    else:
        parts = list(zip(image_index.split(_MASKS_AT_ONCE), seg_embeds.split(_MASKS_AT_ONCE)))
    found = [
        checkpoint(_decode, native, *levels, *part, use_reentrant=False)
        if recompute and torch.is_grad_enabled()
        else _decode(native, *levels, *part)
        for part in parts
    ]
    masks, iou_scores, object_scores = (torch.cat(column) for column in zip(*found))
    if empty_without_object and not torch.is_grad_enabled():
        masks = masks.masked_fill((object_scores <= 0)[..., None, None], _EMPTY)
    return masks, iou_scores


def _decode(
    native: Any,
    fine: Tensor,
    middle: Tensor,
    coarse: Tensor,
    image_index: Tensor,
    seg_embeds: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """All candidates of R masks, at one time, with the object scores ``[R, 1]``.

    Source:
        Upstream Sa2VA ``hf/models/sam2.py``: the language embedding follows two
        padding points (label -1).
    """
    num_regions = len(image_index)
    points = seg_embeds.new_zeros(num_regions, 1, 1, 2)
    labels = torch.full((num_regions, 1, 1), -1, dtype=torch.int32, device=seg_embeds.device)
    sparse, dense = native.prompt_encoder(points, labels, None, None)
    sparse = torch.cat([sparse, seg_embeds[:, None, None].to(sparse.dtype)], dim=2)
    position = native.get_image_wide_positional_embeddings()
    masks, iou_scores, _, object_scores = native.mask_decoder(
        image_embeddings=coarse[image_index],
        image_positional_embeddings=position.expand(num_regions, -1, -1, -1),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
        high_resolution_features=[fine[image_index], middle[image_index]],
    )
    return masks[:, 0], iou_scores[:, 0], object_scores[:, 0]


def best_candidate(mask_logits: Tensor, iou_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Of ``[R, 3, h, w]`` candidates the one with the largest predicted IoU: ``[R, h, w]``, ``[R]``."""
    best = iou_scores.argmax(1)
    rows = torch.arange(len(best), device=best.device)
    return mask_logits[rows, best], iou_scores[rows, best]
