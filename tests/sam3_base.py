"""A tiny random checkpoint with SAM 3 in the released layout, with all that a released one holds."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import (
    initialized,
    tiny_config,
    tiny_tokenizer,
    write_base,
)
from tests.miniature import SIZES

HAS_SAM3 = hasattr(transformers, 'Sam3TrackerModel')
WHY_NOT = 'SAM 3 is in transformers 5 only'
PREFIX = 'grounding_encoder.sam2_model.'
#: A grid of 8 x 8 patches, in windows of 3, which do not divide it; 4 x 4 positions are tiled over it.
SAM3_SIZES = dict(
    image_size=112, patch_size=14, embed_dim=32, mlp_dim=48, depth=3, num_heads=4, window_size=3,
    global_att_blocks=[1], pretrain_image_size=56, hidden_size=32, decoder_mlp_dim=64,
)  # fmt: skip


def sam3_config(vocab_size: int) -> dict[str, Any]:
    """The miniature's ``config.json`` with SAM 3 in SAM 2's place."""
    config = tiny_config(vocab_size, SIZES)
    del config['tiny_sam2']
    return config | dict(grounding_encoder='sam3', tiny_sam3=SAM3_SIZES)


def new_sam3(seed: int = 0, **kwargs) -> Sa2VA:
    """The miniature with SAM 3; no weight has a neutral value."""
    tokenizer = tiny_tokenizer()
    model = initialized(sam3_config(len(tokenizer)), tokenizer, seed, **kwargs)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.grounding_encoder.no_memory_embedding.normal_(std=0.5)
        model.grounding_encoder.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(
            30.0
        )  # objects are there
    model.remember_start()
    return model


def write_sam3_base(folder: Path, seed: int = 0, dtype: torch.dtype | None = None) -> Path:
    """As upstream's conversion writes it: its config names no grounding encoder, the tensors' names do."""
    write_base(new_sam3(seed), folder, dtype)
    config = json.loads((folder / 'config.json').read_text())
    del config['grounding_encoder']
    (folder / 'config.json').write_text(json.dumps(config))
    tensors = load_file(folder / 'model.safetensors')
    positions = PREFIX + 'backbone.vision_backbone.trunk.pos_embed'
    tensors[positions][:, 0] = 9.0  # of the class token that SAM 3 does not have
    save_file(tensors | _unused(tensors), folder / 'model.safetensors', {'format': 'pt'})
    return folder


def _unused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What no image needs, some of each kind: the detector's neck, a fourth level, the memory, constants."""
    vision = PREFIX + 'backbone.vision_backbone.'
    found = {
        name.replace('sam2_convs', 'convs'): torch.full_like(tensor, 7.0)
        for name, tensor in tensors.items()
        if name.startswith(vision + 'sam2_convs.')
    }
    for level in (vision + 'convs.3.', vision + 'sam2_convs.3.'):
        found[level + 'conv_1x1.weight'] = torch.full((4, 4, 1, 1), 7.0)
    for name in (
        'maskmem_tpos_enc', 'no_mem_pos_enc', 'no_obj_ptr', 'no_obj_embed_spatial', 'mask_downsample.weight',
        'obj_ptr_proj.layers.0.weight', 'obj_ptr_tpos_proj.bias', 'maskmem_backbone.fuser.layers.0.g_weight',
        'transformer.encoder.layers.0.self_attn.q_proj.weight',
    ):  # fmt: skip
        found[PREFIX + name] = torch.full((3,), 7.0)
    found[vision + 'trunk.blocks.0.attn.freqs_cis'] = torch.full((9, 4), 7.0 + 1j, dtype=torch.complex64)
    return found
