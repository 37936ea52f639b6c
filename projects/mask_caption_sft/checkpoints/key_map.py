"""Names of a released Sa2VA checkpoint and of the native modules, side by side.

One table, read both ways. Most rows rename one tensor; two kinds change shape: a *fused* tensor is cut into
several, *stacked* ones of one row each are joined. The rows of SAM 2 and ``text_hidden_fcs``, which every
checkpoint has, are here; those of a language-vision model are in its file in ``backbones/``.

Source: Sa2VA's released layout (``grounding_encoder.sam2_model``, ``text_hidden_fcs``) and the parameter
names of transformers' SAM 2.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..backbones import Backbone, backbone_of
from ..backbones.key_rows import EQUAL_PARTS, Layout

_SAM = 'grounding_encoder.'
_RELEASED_SAM = 'grounding_encoder.sam2_model.'
_DECODER, _RELEASED_DECODER = _SAM + 'mask_decoder.', _RELEASED_SAM + 'sam_mask_decoder.'

#: (released, native). ``{n}`` stands for a number, ``{s}`` for weight or
#: bias, ``{qkv}`` for one of the letters, ``{w}`` for a word.
RENAMED = [
    (_RELEASED_SAM + 'no_mem_embed', _SAM + 'no_memory_embedding'),
    (_RELEASED_SAM + 'image_encoder.trunk.pos_embed', _SAM + 'vision_encoder.backbone.pos_embed'),
    (_RELEASED_SAM + 'image_encoder.trunk.pos_embed_window', _SAM + 'vision_encoder.backbone.pos_embed_window'),
    (_RELEASED_SAM + 'image_encoder.trunk.patch_embed.proj.{s}', _SAM + 'vision_encoder.backbone.patch_embed.projection.{s}'),
    (_RELEASED_SAM + 'image_encoder.trunk.blocks.{n}.norm{n}.{s}', _SAM + 'vision_encoder.backbone.blocks.{n}.layer_norm{n}.{s}'),
    (_RELEASED_SAM + 'image_encoder.trunk.blocks.{n}.attn.{w}.{s}', _SAM + 'vision_encoder.backbone.blocks.{n}.attn.{w}.{s}'),
    (_RELEASED_SAM + 'image_encoder.trunk.blocks.{n}.mlp.layers.0.{s}', _SAM + 'vision_encoder.backbone.blocks.{n}.mlp.proj_in.{s}'),
    (_RELEASED_SAM + 'image_encoder.trunk.blocks.{n}.mlp.layers.1.{s}', _SAM + 'vision_encoder.backbone.blocks.{n}.mlp.proj_out.{s}'),
    (_RELEASED_SAM + 'image_encoder.trunk.blocks.{n}.proj.{s}', _SAM + 'vision_encoder.backbone.blocks.{n}.proj.{s}'),
    (_RELEASED_SAM + 'image_encoder.neck.convs.{n}.conv.{s}', _SAM + 'vision_encoder.neck.convs.{n}.{s}'),
    (_RELEASED_SAM + 'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix', _SAM + 'shared_image_embedding.positional_embedding'),
    (_RELEASED_SAM + 'sam_prompt_encoder.mask_downscaling.0.{s}', _SAM + 'prompt_encoder.mask_embed.conv1.{s}'),
    (_RELEASED_SAM + 'sam_prompt_encoder.mask_downscaling.1.{s}', _SAM + 'prompt_encoder.mask_embed.layer_norm1.{s}'),
    (_RELEASED_SAM + 'sam_prompt_encoder.mask_downscaling.3.{s}', _SAM + 'prompt_encoder.mask_embed.conv2.{s}'),
    (_RELEASED_SAM + 'sam_prompt_encoder.mask_downscaling.4.{s}', _SAM + 'prompt_encoder.mask_embed.layer_norm2.{s}'),
    (_RELEASED_SAM + 'sam_prompt_encoder.mask_downscaling.6.{s}', _SAM + 'prompt_encoder.mask_embed.conv3.{s}'),
    (_RELEASED_SAM + 'sam_prompt_encoder.no_mask_embed.weight', _SAM + 'prompt_encoder.no_mask_embed.weight'),
    (_RELEASED_SAM + 'sam_prompt_encoder.not_a_point_embed.weight', _SAM + 'prompt_encoder.not_a_point_embed.weight'),
    (_RELEASED_DECODER + 'transformer.layers.{n}.{w}.out_proj.{s}', _DECODER + 'transformer.layers.{n}.{w}.o_proj.{s}'),
    (_RELEASED_DECODER + 'transformer.layers.{n}.{w}.{qkv}_proj.{s}', _DECODER + 'transformer.layers.{n}.{w}.{qkv}_proj.{s}'),
    (_RELEASED_DECODER + 'transformer.layers.{n}.norm{n}.{s}', _DECODER + 'transformer.layers.{n}.layer_norm{n}.{s}'),
    (_RELEASED_DECODER + 'transformer.layers.{n}.mlp.layers.0.{s}', _DECODER + 'transformer.layers.{n}.mlp.proj_in.{s}'),
    (_RELEASED_DECODER + 'transformer.layers.{n}.mlp.layers.1.{s}', _DECODER + 'transformer.layers.{n}.mlp.proj_out.{s}'),
    (_RELEASED_DECODER + 'transformer.final_attn_token_to_image.{qkv}_proj.{s}', _DECODER + 'transformer.final_attn_token_to_image.{qkv}_proj.{s}'),
    (_RELEASED_DECODER + 'transformer.final_attn_token_to_image.out_proj.{s}', _DECODER + 'transformer.final_attn_token_to_image.o_proj.{s}'),
    (_RELEASED_DECODER + 'transformer.norm_final_attn.{s}', _DECODER + 'transformer.layer_norm_final_attn.{s}'),
    (_RELEASED_DECODER + 'iou_token.weight', _DECODER + 'iou_token.weight'),
    (_RELEASED_DECODER + 'mask_tokens.weight', _DECODER + 'mask_tokens.weight'),
    (_RELEASED_DECODER + 'obj_score_token.weight', _DECODER + 'obj_score_token.weight'),
    (_RELEASED_DECODER + 'output_upscaling.0.{s}', _DECODER + 'upscale_conv1.{s}'),
    (_RELEASED_DECODER + 'output_upscaling.1.{s}', _DECODER + 'upscale_layer_norm.{s}'),
    (_RELEASED_DECODER + 'output_upscaling.3.{s}', _DECODER + 'upscale_conv2.{s}'),
    (_RELEASED_DECODER + 'conv_s{n}.{s}', _DECODER + 'conv_s{n}.{s}'),
    *(
        (f'{_RELEASED_DECODER}{head}.layers.{old}.{{s}}', f'{_DECODER}{head}.{new}.{{s}}')
        for head in ('output_hypernetworks_mlps.{n}', 'iou_prediction_head', 'pred_obj_score_head')
        for old, new in ((0, 'proj_in'), (1, 'layers.0'), (2, 'proj_out'))
    ),
    ('text_hidden_fcs.0.{s}', 'text_hidden_fcs.0.{s}'),
    ('text_hidden_fcs.2.{s}', 'text_hidden_fcs.2.{s}'),
]  # fmt: skip

#: Released tensors of one row each, stacked to one native tensor.
STACKED = [
    (
        tuple(f'{_RELEASED_SAM}sam_prompt_encoder.point_embeddings.{i}.weight' for i in range(4)),
        _SAM + 'prompt_encoder.point_embed.weight',
    ),
]

#: Released tensors that no image model uses: SAM 2's memory of earlier frames.
UNUSED = [
    _RELEASED_SAM + name
    for name in (
        'maskmem_tpos_enc', 'no_mem_pos_enc', 'no_obj_ptr', 'no_obj_embed_spatial', 'mask_downsample.',
        'memory_attention.', 'memory_encoder.', 'obj_ptr_proj.', 'obj_ptr_tpos_proj.',
    )
]  # fmt: skip

_WILDCARDS = {'{n}': r'(\d+)', '{qkv}': r'([qkv])', '{s}': r'(weight|bias)', '{w}': r'(\w+?)'}


@dataclass(frozen=True)
class Entry:
    """How some released tensors become some native ones, and back.

    One of the two tuples has length one, except for a plain renaming, where
    both have.

    Attributes:
        released, native: Names.
        layout: How the native tensors lie in a released one.
    """

    released: tuple[str, ...]
    native: tuple[str, ...]
    layout: Layout = EQUAL_PARTS

    def to_native(self, tensors: list[Tensor]) -> list[Tensor]:
        """The native tensors for the released ones, in the order of the names."""
        if len(self.native) > 1:
            return self.layout.cut(tensors[0], len(self.native))
        return [torch.cat(tensors)] if len(tensors) > 1 else tensors

    def to_released(self, tensors: list[Tensor]) -> list[Tensor]:
        """The inverse of :meth:`to_native`."""
        if len(self.native) > 1:
            return [self.layout.join(tensors)]
        return list(tensors[0].split(1)) if len(self.released) > 1 else tensors


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for name, expression in _WILDCARDS.items():
        escaped = escaped.replace(re.escape(name), expression)
    return re.compile(escaped + '$')


def _fill(template: str, groups: tuple[str, ...]) -> str:
    values = iter(groups)
    return re.sub(r'\{(?:n|s|w|qkv)\}', lambda _: next(values), template)


def plain_name(name: str) -> str:
    """A parameter's name without peft's wrapper around linear layers."""
    return name.replace('.base_layer.', '.')


def is_unused(released_key: str) -> bool:
    """True for a tensor of SAM 2's video memory, which is copied but never loaded."""
    return any(released_key.startswith(prefix) for prefix in UNUSED)


class KeyMap:
    """The table of one backbone, SAM 2 and ``text_hidden_fcs``, read in both directions.

    Args:
        backbone: Whose rows are added to those that all checkpoints have.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        renamed = [(released, (native,), EQUAL_PARTS) for released, native in backbone.renamed + RENAMED]
        rows = [(row.released, row.native, row.layout) for row in backbone.fused] + renamed
        self._forward = [(_pattern(released), natives, layout) for released, natives, layout in rows]
        self._backward = [
            (_pattern(native), released, natives, layout)
            for released, natives, layout in rows
            for native in natives
        ]

    def entry_for(self, released_key: str) -> Entry | None:
        """The table row for one released name, or None if there is none."""
        for names, native in STACKED:
            if released_key in names:
                return Entry(names, (native,))
        for pattern, natives, layout in self._forward:
            if match := pattern.match(released_key):
                groups = match.groups()
                return Entry((released_key,), tuple(_fill(name, groups) for name in natives), layout)
        return None

    def entries_for(self, released_keys: Iterable[str]) -> tuple[list[Entry], list[str]]:
        """Table rows for all names of a checkpoint, and the names that have none.

        Returns:
            The distinct rows in file order, without unused tensors; and the names
            that are neither mapped nor listed as unused.
        """
        entries: dict[tuple[str, ...], Entry] = {}
        unknown = []
        for key in released_keys:
            if is_unused(key):
                continue
            entry = self.entry_for(key)
            if entry is None:
                unknown.append(key)
            else:
                entries[entry.released] = entry
        return list(entries.values()), unknown

    def entry_for_native(self, native_key: str) -> Entry | None:
        """The table row that a native name belongs to, or None if there is none."""
        for names, native in STACKED:
            if native_key == native:
                return Entry(names, (native,))
        for pattern, released, natives, layout in self._backward:
            if match := pattern.match(native_key):
                groups = match.groups()
                return Entry(
                    (_fill(released, groups),), tuple(_fill(name, groups) for name in natives), layout
                )
        return None

    def released_name(self, native_key: str) -> str:
        """What a native tensor is called in a checkpoint, for messages; its own name if nothing is known."""
        entry = self.entry_for_native(native_key)
        return native_key if entry is None else ' and '.join(entry.released)


def key_map_of(config: dict[str, Any]) -> KeyMap:
    """The table for a checkpoint with that ``config.json``."""
    return KeyMap(backbone_of(config))
