"""A miniature model after a short training, its base and its checkpoint."""

from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.optim import OptimWrapper

from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, write_base
from tests.miniature import LORA, SIZES, miniature_batch, objectives


class Trained(NamedTuple):
    """Where things are."""

    base: Path
    model: MaskCaptionSFT
    checkpoint: Path


def train_on(base: Path) -> MaskCaptionSFT:
    """Ten updates on a small batch, the teacher following with large steps."""
    torch.manual_seed(0)
    model = MaskCaptionSFT(sa2va=dict(base=str(base), lora=LORA), objectives=objectives(), max_caption_len=5)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    wrapper = OptimWrapper(torch.optim.AdamW(trained, 3e-3))
    teacher = dict(model.teacher.named_parameters())
    for _ in range(10):
        model.train_step({'batch': miniature_batch()}, wrapper)
        with torch.no_grad():
            for name, parameter in model.student.named_parameters():
                if parameter.requires_grad:
                    teacher[name].lerp_(parameter, 0.2)
    return model.eval()


def save_checkpoint(model: MaskCaptionSFT, path: Path) -> None:
    """As a run saves it, with a short log."""
    student = model.student
    own = dict(base=student.base, fingerprint=student.base_fingerprint, lora_scaling=student.lora_scaling)
    meta = dict(iter=10, cfg='model = dict()', sa2va=own | dict(data='dataset  records\nsav  3'))
    values = {'train/loss': [2.0, 1.0], 'val/ref_seg/cIoU': [0.25, 0.5], 'val/ref_seg/counted': [7],
              'val/mask_cycle_given/second_view_iou': [float('nan')]}  # fmt: skip
    scalars = {
        name: dict(log_history=v, count_history=[1] * len(v), max_length=10) for name, v in values.items()
    }
    torch.save(dict(state_dict=model.state_dict(), meta=meta, message_hub=dict(log_scalars=scalars)), path)


def make_trained(folder: Path) -> Trained:
    """Base, model and checkpoint in a folder."""
    base, checkpoint = folder / 'base', folder / 'run' / 'iter_10.pth'
    base.mkdir()
    write_base(new_sa2va(5, SIZES), base)
    (base / 'README.md').write_text('---\nlicense: mit\n---\n# The base\n')
    model = train_on(base)
    checkpoint.parent.mkdir()
    save_checkpoint(model, checkpoint)
    return Trained(base, model, checkpoint)


def arguments(checkpoint, out, **changes) -> Namespace:
    """Of ``tools/convert_to_hf.py``."""
    fields = dict(
        model_path=str(checkpoint), output_dir=str(out), base=None, teacher=False, lora_scaling=2.0,
        overwrite=False, allow_unchanged=False, adapter=False, base_model=None, push=None, public=False,
        code=[],
    )  # fmt: skip
    return Namespace(**fields | changes)


def outputs(model: Sa2VA):
    """Captions, mask logits and caption logits of a batch."""
    batch = miniature_batch([None, None], [None])
    views1, views2 = model.look(batch)
    captions = model.describe(views1, 6)
    masks = model.segment(views2, model.embed_expressions(['the red circle', 'a square', 'star'])).mask_logits
    scores = model.score(views1, captions).logits
    return captions.texts, masks.detach(), scores.detach()
