"""SAM 2 and what leads to it, with the sizes of a released ``config.json``."""

import re
from typing import Any

import torch
from torch import nn
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from ..checkpoints.released import ReleasedWeights

#: SAM 2's hiera-large, which every released Sa2VA uses; ``config.json`` does not repeat it.
HIERA_LARGE: dict[str, Any] = {
    'embed_dim': 144,
    'num_heads': 2,
    'stages': [2, 6, 36, 4],
    'global_att_blocks': [23, 33, 43],
    'window_pos_embed_bkg_spatial_size': [7, 7],
    'window_spec': [8, 4, 16, 8],
    'backbone_channel_list': [1152, 576, 288, 144],
    'image_size': 1024,
    'hidden_size': 256,
    'decoder_mlp_dim': 2048,
}

_TRUNK = 'grounding_encoder.sam2_model.image_encoder.trunk.'
_PATCH_EMBEDDING, _BLOCK = (
    _TRUNK + 'patch_embed.proj.weight',
    re.compile(re.escape(_TRUNK) + r'blocks\.(\d+)\.'),
)


def sam2_sizes(config: dict[str, Any]) -> dict[str, Any]:
    """Sizes of the grounding encoder: hiera-large, but for what ``tiny_sam2`` states."""
    return HIERA_LARGE | config.get('tiny_sam2', {})


def check_grounding_encoder(config: dict[str, Any], weights: ReleasedWeights) -> None:
    """Raise ``ValueError`` if a checkpoint's SAM 2 is not of the size that its config stands for."""
    if _PATCH_EMBEDDING not in weights:
        return  # whoever loads the weights lists what is missing
    blocks = {int(m[1]) for key in weights if (m := _BLOCK.match(key))}
    found = weights.shape(_PATCH_EMBEDDING)[0], len(blocks)
    sizes = sam2_sizes(config)
    expected = sizes['embed_dim'], sum(sizes['stages'])
    if found != expected:
        raise ValueError(
            f'{weights.base}: its grounding encoder is {_named(found)}; expected is {_named(expected)}, '
            'which every released Sa2VA has. Use a checkpoint whose grounding_encoder is that one.'
        )


def _named(size: tuple[int, int]) -> str:
    name = {(144, 48): 'hiera-large', (112, 24): 'hiera-base-plus', (96, 16): 'hiera-small',
            (96, 12): 'hiera-tiny'}.get(size, 'of no released size')  # fmt: skip
    return f'SAM 2 {name} (width {size[0]}, {size[1]} blocks)'


def build_grounding_encoder(config: dict[str, Any]) -> Sam2Model:
    """SAM 2's image model, randomly initialised."""
    sizes = sam2_sizes(config)
    image_size, width = sizes['image_size'], sizes['hidden_size']
    backbone = Sam2HieraDetConfig(
        hidden_size=sizes['embed_dim'],
        num_attention_heads=sizes['num_heads'],
        image_size=[image_size, image_size],
        window_positional_embedding_background_size=sizes['window_pos_embed_bkg_spatial_size'],
        blocks_per_stage=sizes['stages'],
        embed_dim_per_stage=[sizes['embed_dim'] * 2**i for i in range(4)],
        num_attention_heads_per_stage=[sizes['num_heads'] * 2**i for i in range(4)],
        window_size_per_stage=sizes['window_spec'],
        global_attention_blocks=sizes['global_att_blocks'],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=sizes['backbone_channel_list'],
        backbone_feature_sizes=[[image_size // stride] * 2 for stride in (4, 8, 16)],
        fpn_hidden_size=width,
    )
    model = Sam2Model(
        Sam2Config(
            vision_config=vision,
            prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=width, image_size=image_size),
            mask_decoder_config=Sam2MaskDecoderConfig(
                hidden_size=width, iou_head_hidden_dim=width, mlp_dim=sizes['decoder_mlp_dim']
            ),
        )
    )
    # A released checkpoint holds it once. transformers 4 ties the two, 5 draws each at random.
    buffers = dict(model.named_buffers())
    with torch.no_grad():
        buffers['prompt_encoder.shared_embedding.positional_embedding'].copy_(
            buffers['shared_image_embedding.positional_embedding']
        )
    return model


def build_text_hidden_fcs(config: dict[str, Any], width: int) -> nn.Sequential:
    """``[SEG]`` state of some width to prompt embedding: Linear, ReLU, Linear, Dropout(0)."""
    return nn.Sequential(
        nn.Linear(width, width),
        nn.ReLU(inplace=True),
        nn.Linear(width, sam2_sizes(config)['hidden_size']),
        nn.Dropout(0.0),
    )
