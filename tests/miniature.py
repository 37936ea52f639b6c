"""A Sa2VA of a few thousand weights and a batch for it: everything real, only small."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.loop.bridges import SoftTokenBridge
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import (
    HumanExpressions,
    NearStart,
    SegmentCaptions,
    TeacherIoU,
)
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionBatch, RegionSample, View
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base

SIZES = dict(
    image_size=56, vit_width=32, vit_layers=1, llm_width=32, llm_layers=2,
    grounding_size=128, grounding_embed_dim=8, grounding_width=32,
)  # fmt: skip
LORA = dict(r=4, lora_alpha=8, lora_dropout=0.0)
_BASE = 'MINIATURE_BFLOAT16_BASE'


def miniature_sa2va(seed: int = 0, **kwargs) -> Sa2VA:
    """LoRA is made to matter: its second matrix, zero at the start, gets small values.

    With ``tokenizer=real_tokenizer()`` it reads and writes the 4B's own tokens.
    """
    return with_live_lora(new_sa2va(seed, SIZES, **{'lora': LORA, **kwargs}), seed)


def bfloat16_base() -> Path:
    """A released directory with the miniature's weights in bfloat16, as the 4B is; not to be changed.

    One for this process and those that it starts afterwards.
    """
    if _BASE not in os.environ:
        folder = os.environ[_BASE] = tempfile.mkdtemp(prefix='sa2va_')
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        write_base(new_sa2va(0, SIZES), Path(folder), torch.bfloat16)
    return Path(os.environ[_BASE])


def released_sa2va(base_dtype: str = 'released', seed: int = 0, **kwargs) -> Sa2VA:
    """The miniature from that directory; the same LoRA whatever the type of the base."""
    base = bfloat16_base()
    torch.manual_seed(seed)
    model = Sa2VA(base, **{'lora': LORA, 'base_dtype': base_dtype, **kwargs})
    return with_live_lora(model, seed)


def with_live_lora(model: Sa2VA, seed: int) -> Sa2VA:
    """Small values for LoRA's second matrix."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'lora_B' in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


class _DoubleNorm(torch.nn.Module):
    """Qwen2's RMSNorm without its cast to float32."""

    def __init__(self, norm: torch.nn.Module) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.weight * hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.eps)


def double_sa2va(**kwargs) -> Sa2VA:
    """In double precision throughout, for finite differences."""
    model = miniature_sa2va(**kwargs).double()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ == 'Qwen2RMSNorm':
                setattr(module, name, _DoubleNorm(child))
    return model


def objectives(**changes) -> dict[str, Any]:
    """All of them, without selection and with an open gate; ``changes`` replace some, None leaves one out."""
    defaults = dict(
        teacher_iou=TeacherIoU(SoftTokenBridge()),
        segment_captions=SegmentCaptions(gate_iou=0.0),
        human_expressions=HumanExpressions(),
        near_start=NearStart(),
    )
    return defaults | changes


def miniature_model(**kwargs) -> MaskCaptionSFT:
    """Student and teacher; points are not sampled, so that losses have no randomness."""
    settings = dict(
        objectives=objectives(), segmentation_losses=dict(num_points=0), max_caption_len=5, signal_interval=1
    )
    sa2va = kwargs.pop('sa2va', None) or miniature_sa2va()
    return MaskCaptionSFT(sa2va=sa2va, **{**settings, **kwargs})


def miniature_view(name: str, num_regions: int = 1, seed: int = 0, num_tiles: int = 1) -> View:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(num_regions, 32, 32, dtype=torch.bool)
    prompts = torch.zeros(num_regions, 2, 2, dtype=torch.bool)
    for i in range(num_regions):
        masks[i, 4 * i : 4 * i + 12, 4 : 4 + 12] = True
        prompts[i].view(-1)[i % 4] = True
    pixels = torch.randn(num_tiles, 3, 56, 56, generator=generator)
    raw = torch.randint(0, 256, (3, 128, 128), generator=generator, dtype=torch.uint8)
    return View(name, pixels, raw, prompts, masks)


def miniature_sample(
    name: str, expressions: list[str | None], dataset: str = 'sav', seed: int = 0, num_tiles: int = 1
) -> RegionSample:
    views = [miniature_view(f'{name}#{i}', len(expressions), 10 * seed + i, num_tiles) for i in (1, 2)]
    return RegionSample(dataset, name, views[0], views[1], expressions)


def miniature_batch(*expressions: list[str | None]) -> RegionBatch:
    """One sample per argument, with its regions' expressions; default: two without, one with."""
    samples = [
        miniature_sample(f'sample{i}', texts, 'refcoco' if texts[0] else 'sav', seed=i)
        for i, texts in enumerate(expressions or ([None, None], ['the red circle']))
    ]
    return collate_regions(samples)['batch']


def passes_of(model: Sa2VA) -> list[tuple[int, int]]:
    """Grows by rows and tokens of each call of the language model from now on."""
    seen: list[tuple[int, int]] = []
    model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs['inputs_embeds'].shape[:2])), with_kwargs=True
    )
    return seen
