"""SAM 3's tracker, which takes SAM 2's place in Sa2VA-Qwen3-VL-4B-SAM3.

Source: upstream Sa2VA ``hf/models_qwen3vl_sam3/sam3.py`` and the SAM 3 package that it brings along.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from ..backbones.key_rows import Fused
from .grounding_kind import GroundingKind, share_positions, with_stated
from .sam_rows import MEMORY, NATIVE, PROMPTED, RELEASED, mlp_of_decoder, rows

#: SAM 3's sizes, of which there is one set; ``config.json`` does not repeat them.
SAM3: dict[str, Any] = {
    'image_size': 1008,
    'patch_size': 14,
    'embed_dim': 1024,
    'mlp_dim': 4736,
    'depth': 32,
    'num_heads': 16,
    'window_size': 24,
    'global_att_blocks': [7, 15, 23, 31],
    'pretrain_image_size': 336,
    'hidden_size': 256,
    'decoder_mlp_dim': 2048,
}

_VISION = RELEASED + 'backbone.vision_backbone.'
_TRUNK, _NATIVE_TRUNK = _VISION + 'trunk.', NATIVE + 'vision_encoder.backbone.'
_NECK, _NATIVE_NECK = _VISION + 'sam2_convs.', NATIVE + 'vision_encoder.neck.fpn_layers.'
_BLOCK, _NATIVE_BLOCK = _TRUNK + 'blocks.{n}.', _NATIVE_TRUNK + 'layers.{n}.'
#: How the levels of the neck compare with the grid of patches; the mask decoder takes these three.
_LEVELS = [4.0, 2.0, 1.0]
#: transformers 4 has none of the classes that are read from it here.
_LIBRARY: Any = transformers
#: Of the trunk's norms; transformers' own value is another.
_NORM_EPS = 1e-5


@dataclass(frozen=True)
class WithoutClassRow:
    """Positions of patches ``[1, n, C]``, which are released behind that of a class token, ``[1, 1 + n, C]``.

    SAM 3 has no class token. Written back, its row is zero.
    """

    def cut(self, tensor: Tensor, count: int) -> list[Tensor]:
        """The patches' positions."""
        return [tensor[:, 1:]]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """With a row for the class token."""
        (patches,) = parts
        return torch.cat([torch.zeros_like(patches[:, :1]), patches], 1)


class Sam3(GroundingKind):
    """A plain ViT and SAM 2's prompt encoder and mask decoder.

    Of the release's two necks the tracker's is used, and of its four levels the three finest. As upstream
    has it, its input is normalised with ImageNet's mean and standard deviation, and a mask whose object
    score is not positive is empty: there SAM 2's are not.

    Attributes:
        sizes: SAM 3's, but for what ``tiny_sam3`` states.
    """

    name = 'SAM 3'
    key = 'sam3'
    trunk = _TRUNK
    encoder_prefix = RELEASED + 'backbone.'
    empty_without_object = True
    renamed = [
        *PROMPTED,
        *mlp_of_decoder('lin1', 'lin2'),
        *rows(
            _TRUNK,
            _NATIVE_TRUNK,
            [
                ('patch_embed.proj.weight', 'embeddings.patch_embeddings.projection.weight'),
                ('ln_pre.{s}', 'layer_norm.{s}'),
            ],
        ),
        *rows(
            _BLOCK,
            _NATIVE_BLOCK,
            [
                ('norm{n}.{s}', 'layer_norm{n}.{s}'),
                ('attn.proj.{s}', 'attention.o_proj.{s}'),
                ('mlp.fc{n}.{s}', 'mlp.fc{n}.{s}'),
            ],
        ),
        *rows(
            _NECK,
            _NATIVE_NECK,
            [
                ('0.dconv_2x2_0.{s}', '0.scale_layers.0.{s}'),
                ('0.dconv_2x2_1.{s}', '0.scale_layers.2.{s}'),
                ('1.dconv_2x2.{s}', '1.scale_layers.0.{s}'),
                *((f'{n}.conv_1x1.{{s}}', f'{n}.proj1.{{s}}') for n in range(3)),
                *((f'{n}.conv_3x3.{{s}}', f'{n}.proj2.{{s}}') for n in range(3)),
            ],
        ),
    ]
    fused = [
        Fused(_BLOCK + 'attn.qkv.{s}', tuple(f'{_NATIVE_BLOCK}attention.{x}_proj.{{s}}' for x in 'qkv')),
        Fused(_TRUNK + 'pos_embed', (_NATIVE_TRUNK + 'embeddings.position_embeddings',), WithoutClassRow()),
    ]
    unused = [
        *MEMORY,
        RELEASED + 'transformer.',
        RELEASED + 'maskmem_backbone.',
        _VISION + 'convs.',  # the detector's neck
        _NECK + '3.',  # a level coarser than the mask decoder takes
        _BLOCK + 'attn.freqs_cis',  # constants
    ]

    def __init__(self, config: dict[str, Any], where: str) -> None:
        super().__init__(config, where)
        self.sizes = with_stated(SAM3, config, 'tiny_sam3', where)

    @property
    def grid_size(self) -> int:
        """Patches per side."""
        size, patch = self.sizes['image_size'], self.sizes['patch_size']
        if size % patch:
            raise ValueError(
                f"a grounding size of {size} cannot be divided into SAM 3's patches; it has to be a multiple "
                f'of {patch}. The released checkpoint has 1008.'
            )
        return size // patch

    @property
    def image_size(self) -> int:
        """1008 in the release."""
        return self.grid_size * self.sizes['patch_size']

    @property
    def mask_size(self) -> int:
        """Four times the grid of patches: 288 in the release."""
        return 4 * self.grid_size

    @property
    def num_blocks(self) -> int:
        """32 in the release."""
        return self.sizes['depth']

    def _difference(self, found: tuple[int, int], expected: tuple[int, int]) -> str:
        return (
            f'a SAM 3 of width {found[0]} with {found[1]} blocks; expected are width {expected[0]} and '
            f'{expected[1]} blocks, as SAM 3 is released'
        )

    def build(self) -> Any:
        """``Sam3TrackerModel``, which transformers 5 has."""
        if not hasattr(_LIBRARY, 'Sam3TrackerModel'):
            raise ValueError(
                f'{self.where}: its grounding encoder is SAM 3, which transformers '
                f'{transformers.__version__} does not have. Install version 5 '
                "(pip install 'transformers>=5,<5.25'; requirements.txt says which are tested)."
            )
        size, sizes, lib = self.image_size, self.sizes, _LIBRARY
        model = lib.Sam3TrackerModel(
            lib.Sam3TrackerConfig(
                vision_config=lib.Sam3VisionConfig(
                    backbone_config=self._trunk(),
                    fpn_hidden_size=self.hidden_size,
                    scale_factors=_LEVELS,
                    backbone_feature_sizes=[[int(scale * self.grid_size)] * 2 for scale in _LEVELS],
                ),
                prompt_encoder_config=lib.Sam3TrackerPromptEncoderConfig(
                    hidden_size=self.hidden_size, image_size=size, patch_size=sizes['patch_size']
                ),
                mask_decoder_config=lib.Sam3TrackerMaskDecoderConfig(
                    hidden_size=self.hidden_size,
                    iou_head_hidden_dim=self.hidden_size,
                    mlp_dim=sizes['decoder_mlp_dim'],
                ),
            )
        )
        share_positions(model)
        return model

    def _trunk(self) -> Any:
        sizes = self.sizes
        return _LIBRARY.Sam3ViTConfig(
            hidden_size=sizes['embed_dim'],
            intermediate_size=sizes['mlp_dim'],
            num_hidden_layers=sizes['depth'],
            num_attention_heads=sizes['num_heads'],
            image_size=self.image_size,
            patch_size=sizes['patch_size'],
            window_size=sizes['window_size'],
            global_attn_indexes=sizes['global_att_blocks'],
            pretrain_image_size=sizes['pretrain_image_size'],
            layer_norm_eps=_NORM_EPS,
        )
