"""SAM 3 of a checkpoint in the released layout, run plainly: one image, one mask at a time.

Tensors are taken by their released names, without the project's key tables. The image encoder is written out
as the SAM 3 package computes it; prompt encoder and mask decoder are transformers' own.
"""

import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from torch import Tensor

from tests.sam3_base import PREFIX, SAM3_SIZES

_VISION = 'backbone.vision_backbone.'
_NATIVE_NAMES = [
    (r'^no_mem_embed$', 'no_memory_embedding'),
    (r'^sam_(prompt_encoder|mask_decoder)\.', r'\1.'),
    (r'\.mask_downscaling\.0', '.mask_embed.conv1'),
    (r'\.mask_downscaling\.1', '.mask_embed.layer_norm1'),
    (r'\.mask_downscaling\.3', '.mask_embed.conv2'),
    (r'\.mask_downscaling\.4', '.mask_embed.layer_norm2'),
    (r'\.mask_downscaling\.6', '.mask_embed.conv3'),
    (r'\.output_upscaling\.0', '.upscale_conv1'),
    (r'\.output_upscaling\.1', '.upscale_layer_norm'),
    (r'\.output_upscaling\.3', '.upscale_conv2'),
    (r'(mlps\.\d|_head)\.layers\.0', r'\1.proj_in'),
    (r'(mlps\.\d|_head)\.layers\.1', r'\1.layers.0'),
    (r'(mlps\.\d|_head)\.layers\.2', r'\1.proj_out'),
    (r'\.mlp\.lin1', '.mlp.proj_in'),
    (r'\.mlp\.lin2', '.mlp.proj_out'),
    (r'out_proj', 'o_proj'),
    (r'\.norm(\d|_)', r'.layer_norm\1'),
]


class PlainSam3:
    """Feature levels and masks.

    Args:
        folder: A checkpoint with SAM 3 of ``SAM3_SIZES``.
    """

    def __init__(self, folder: Path) -> None:
        tensors = load_file(folder / 'model.safetensors')
        self.t = {
            k.removeprefix(PREFIX): v.float() if v.is_floating_point() else v for k, v in tensors.items()
        }
        self.native = self._native_decoder()

    def _native_decoder(self) -> Any:
        lib, width = transformers, SAM3_SIZES['hidden_size']
        native = lib.Sam3TrackerModel(
            lib.Sam3TrackerConfig(
                vision_config=lib.Sam3VisionConfig(
                    backbone_config=lib.Sam3ViTConfig(
                        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4
                    ),
                    fpn_hidden_size=width,
                ),
                prompt_encoder_config=lib.Sam3TrackerPromptEncoderConfig(hidden_size=width, image_size=112),
                mask_decoder_config=lib.Sam3TrackerMaskDecoderConfig(
                    hidden_size=width, iou_head_hidden_dim=width, mlp_dim=SAM3_SIZES['decoder_mlp_dim']
                ),
            )
        ).eval()
        state = {}
        for name, tensor in self.t.items():
            if name.startswith(('sam_prompt_encoder.', 'sam_mask_decoder.', 'no_mem_embed')):
                for pattern, native_name in _NATIVE_NAMES:
                    name = re.sub(pattern, native_name, name)
                state[name] = tensor
        points = [state.pop(f'prompt_encoder.point_embeddings.{i}.weight') for i in range(4)]
        state['prompt_encoder.point_embed.weight'] = torch.cat(points)
        positions = state.pop('prompt_encoder.pe_layer.positional_encoding_gaussian_matrix')
        state['shared_image_embedding.positional_embedding'] = positions
        state['prompt_encoder.shared_embedding.positional_embedding'] = positions
        missing, unexpected = native.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.startswith('vision_encoder.') for name in missing)
        return native

    # ------------------------------------------------------------------ images

    def levels(self, pixels: Tensor) -> list[Tensor]:
        """Three levels ``[1, C, h, w]`` of one image of raw pixels, finest first, before ``no_mem_embed``."""
        mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        x = self._trunk((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)
        neck = _VISION + 'sam2_convs.'
        fine = self._up(F.gelu(self._up(x, neck + '0.dconv_2x2_0')), neck + '0.dconv_2x2_1')
        middle = self._up(x, neck + '1.dconv_2x2')
        found = []
        for number, level in enumerate((fine, middle, x)):
            level = F.conv2d(level, *self._weights(f'{neck}{number}.conv_1x1'))
            found.append(F.conv2d(level, *self._weights(f'{neck}{number}.conv_3x3'), padding=1))
        return found

    def _up(self, x: Tensor, name: str) -> Tensor:
        return F.conv_transpose2d(x, *self._weights(name), stride=2)

    def _trunk(self, pixels: Tensor) -> Tensor:
        trunk = _VISION + 'trunk.'
        x = F.conv2d(pixels, self.t[trunk + 'patch_embed.proj.weight'], stride=SAM3_SIZES['patch_size'])
        x = x.permute(0, 2, 3, 1)
        positions = self.t[trunk + 'pos_embed'][0, 1:].unflatten(0, (4, 4))
        places = torch.arange(x.shape[1]) % 4
        x = self._norm(x + positions[places][:, places], trunk + 'ln_pre')
        for number in range(SAM3_SIZES['depth']):
            window = None if number in SAM3_SIZES['global_att_blocks'] else SAM3_SIZES['window_size']
            x = self._block(x, f'{trunk}blocks.{number}.', window)
        return x

    def _block(self, x: Tensor, block: str, window: int | None) -> Tensor:
        normed, side = self._norm(x, block + 'norm1'), x.shape[1]
        if window is None:  # positions are stretched to those of a window
            attended = self._attention(normed, block, SAM3_SIZES['window_size'] / side)
        else:
            missing = -side % window
            padded = F.pad(normed, (0, 0, 0, missing, 0, missing))
            attended = torch.empty_like(padded)
            for top in range(0, side, window):
                for left in range(0, side, window):
                    part = slice(None), slice(top, top + window), slice(left, left + window)
                    attended[part] = self._attention(padded[part], block, 1.0)
            attended = attended[:, :side, :side]
        x = x + attended
        hidden = F.gelu(F.linear(self._norm(x, block + 'norm2'), *self._weights(block + 'mlp.fc1')))
        return x + F.linear(hidden, *self._weights(block + 'mlp.fc2'))

    def _attention(self, x: Tensor, block: str, stretch: float) -> Tensor:
        side, heads = x.shape[1], SAM3_SIZES['num_heads']
        qkv = F.linear(x.flatten(1, 2), *self._weights(block + 'attn.qkv'))
        q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        width = q.shape[-1]
        speeds = 10000.0 ** (-torch.arange(0, width, 4) / width)
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing='ij')
        angles = [stretch * place.flatten()[:, None] * speeds for place in (columns, rows)]
        angles = torch.cat(angles, -1)
        turns = torch.polar(torch.ones_like(angles), angles)
        q, k = (torch.view_as_complex(part.unflatten(-1, (-1, 2)).contiguous()) * turns for part in (q, k))
        q, k = torch.view_as_real(q).flatten(-2), torch.view_as_real(k).flatten(-2)
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return F.linear(found, *self._weights(block + 'attn.proj')).unflatten(1, (side, side))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], *self._weights(name), 1e-5)

    def _weights(self, name: str) -> tuple[Tensor, Tensor]:
        return self.t[name + '.weight'], self.t[name + '.bias']

    # ------------------------------------------------------------------ masks

    def candidates(self, levels: list[Tensor], embed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three masks ``[3, h, w]`` of an embedding ``[C]``, their predicted IoU, and the object score."""
        decoder: Any = self.native.mask_decoder
        fine, middle, coarse = levels
        nowhere = torch.zeros(1, 1, 1, 2), torch.full((1, 1, 1), -1, dtype=torch.int32)
        sparse, dense = self.native.prompt_encoder(*nowhere, None, None)
        masks, iou_scores, _, object_score = decoder(
            image_embeddings=coarse + self.t['no_mem_embed'].view(1, -1, 1, 1),
            image_positional_embeddings=self.native.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=torch.cat([sparse, embed.view(1, 1, 1, -1)], 2),
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=[decoder.conv_s0(fine), decoder.conv_s1(middle)],
        )
        return masks[0, 0], iou_scores[0, 0], object_score.flatten()[0]

    def mask(self, levels: list[Tensor], embed: Tensor) -> Tensor:
        """``[h, w]``: of three the one with the largest predicted IoU, if there is an object at all."""
        masks, iou_scores, object_score = self.candidates(levels, embed)
        chosen = masks[iou_scores.argmax()]
        return chosen if object_score > 0 else torch.full_like(chosen, -1024.0)
