"""SAM 2, with the sizes of a released ``config.json``."""

from typing import Any

from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from .grounding_kind import GroundingKind, share_positions, with_stated
from .sam_rows import MEMORY, NATIVE, PROMPTED, RELEASED, mlp_of_decoder, rows

#: SAM 2's hiera-large, which every released Sa2VA with SAM 2 uses; ``config.json`` does not repeat it.
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

_TRUNK = RELEASED + 'image_encoder.trunk.'


class Sam2(GroundingKind):
    """SAM 2's image model.

    Attributes:
        sizes: Those of hiera-large, but for what ``tiny_sam2`` states.
    """

    name = 'SAM 2'
    key = 'sam2'
    trunk = _TRUNK
    encoder_prefix = RELEASED + 'image_encoder.'
    renamed = [
        *PROMPTED,
        *mlp_of_decoder('layers.0', 'layers.1'),
        *rows(
            _TRUNK,
            NATIVE + 'vision_encoder.backbone.',
            [
                ('pos_embed', 'pos_embed'),
                ('pos_embed_window', 'pos_embed_window'),
                ('patch_embed.proj.{s}', 'patch_embed.projection.{s}'),
                ('blocks.{n}.norm{n}.{s}', 'blocks.{n}.layer_norm{n}.{s}'),
                ('blocks.{n}.attn.{w}.{s}', 'blocks.{n}.attn.{w}.{s}'),
                ('blocks.{n}.mlp.layers.0.{s}', 'blocks.{n}.mlp.proj_in.{s}'),
                ('blocks.{n}.mlp.layers.1.{s}', 'blocks.{n}.mlp.proj_out.{s}'),
                ('blocks.{n}.proj.{s}', 'blocks.{n}.proj.{s}'),
            ],
        ),
        (
            RELEASED + 'image_encoder.neck.convs.{n}.conv.{s}',
            NATIVE + 'vision_encoder.neck.convs.{n}.{s}',
        ),
    ]
    unused = [*MEMORY, RELEASED + 'memory_attention.', RELEASED + 'memory_encoder.']

    def __init__(self, config: dict[str, Any], where: str) -> None:
        super().__init__(config, where)
        self.sizes = with_stated(HIERA_LARGE, config, 'tiny_sam2', where)

    @property
    def image_size(self) -> int:
        """1024 in every release."""
        size = self.sizes['image_size']
        # A window's positional embedding is tiled over the features, a quarter of the image's size.
        multiple = 4 * self.sizes['window_spec'][0]
        if size % multiple:
            raise ValueError(
                f"a grounding size of {size} cannot be divided into SAM 2's windows; it has to be a multiple "
                f'of {multiple}. Released checkpoints have 1024.'
            )
        return size

    @property
    def mask_size(self) -> int:
        """A quarter of the image's."""
        return self.image_size // 4

    @property
    def num_blocks(self) -> int:
        """Of all four stages."""
        return sum(self.sizes['stages'])

    def _difference(self, found: tuple[int, int], expected: tuple[int, int]) -> str:
        return f'{_named(found)}; expected is {_named(expected)}, which every released Sa2VA has'

    def build(self) -> Sam2Model:
        """``Sam2Model``."""
        image_size, width = self.sizes['image_size'], self.hidden_size
        vision = Sam2VisionConfig(
            backbone_config=self._trunk(image_size),
            backbone_channel_list=self.sizes['backbone_channel_list'],
            backbone_feature_sizes=[[image_size // stride] * 2 for stride in (4, 8, 16)],
            fpn_hidden_size=width,
        )
        model = Sam2Model(
            Sam2Config(
                vision_config=vision,
                prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=width, image_size=image_size),
                mask_decoder_config=Sam2MaskDecoderConfig(
                    hidden_size=width, iou_head_hidden_dim=width, mlp_dim=self.sizes['decoder_mlp_dim']
                ),
            )
        )
        share_positions(model)
        return model

    def _trunk(self, image_size: int) -> Sam2HieraDetConfig:
        sizes = self.sizes
        return Sam2HieraDetConfig(
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


def _named(size: tuple[int, int]) -> str:
    name = {(144, 48): 'hiera-large', (112, 24): 'hiera-base-plus', (96, 16): 'hiera-small',
            (96, 12): 'hiera-tiny'}.get(size, 'of no released size')  # fmt: skip
    return f'SAM 2 {name} (width {size[0]}, {size[1]} blocks)'
