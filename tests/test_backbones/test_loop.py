"""The loop under the 4B run's conditions on each kind of language model and vision encoder.

A base in bfloat16, autocast, activation checkpointing, LoRA dropout, four captions of each region, the
teacher, and the export. On Qwen2, untied, all of it is in test_loop/test_4b_settings.py.
"""

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import AdamW

from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.trained_tensors import from_ours
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.family_bases import write_family_base
from tests.miniature import miniature_batch, objectives, with_live_lora

LORA = dict(r=4, lora_alpha=8, lora_dropout=0.05)
#: Linear modules of a layer that carry LoRA.
MATRICES = {'qwen2 tied': 7, 'qwen3': 7, 'internlm2 6b': 7, 'phi3': 4}
#: Released tensors of a layer that LoRA changes: of InternLM2 q, k and v are one.
RELEASED = MATRICES | {'internlm2 6b': 5}
LAYERS = 2


@pytest.fixture(scope='module', params=MATRICES)
def family(request):
    return request.param


@pytest.fixture(scope='module')
def base(family, tmp_path_factory):
    return write_family_base(family, tmp_path_factory.mktemp('base'), dtype=torch.bfloat16)


@pytest.fixture(scope='module')
def trained(base):
    """The loop after an update, and the gradients that it made."""
    torch.manual_seed(0)
    sa2va = Sa2VA(base, lora=LORA, base_dtype='released', activation_checkpointing=True)
    # Of random weights no mask is good; with higher thresholds nothing would be taught.
    taught = objectives(best_of_k=BestOfK(weight=5.0, margin_iou=-1.0, min_iou=0.0))
    model = MaskCaptionSFT(
        with_live_lora(sa2va, 0), taught, max_caption_len=5, num_captions=4, predict_dtype='bfloat16'
    ).train()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with torch.autocast('cpu', torch.bfloat16):
        total, _ = model.parse_losses(model.loss(miniature_batch()))
    total.backward()
    gradients = {n: p.grad for n, p in model.student.named_parameters() if p.requires_grad}
    optimizer.step()
    return model, gradients


def test_every_trained_tensor_gets_a_gradient(trained, family):
    _, gradients = trained
    unused = [n for n, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()]
    assert [name for name in unused if 'mask_decoder' not in name] == []  # of its four candidates one is used
    assert sum('lora_' in name for name in gradients) == 2 * LAYERS * MATRICES[family]


def test_the_base_stays_in_bfloat16_and_is_shared_with_the_teacher(trained):
    model, _ = trained
    assert model.student.needs_autocast
    teacher = dict(model.teacher.named_parameters())
    for name, parameter in model.student.named_parameters():
        assert (parameter is teacher[name]) == (not parameter.requires_grad), name
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32


def test_the_export_changes_what_was_trained_and_nothing_else(trained, base, family, tmp_path):
    model, _ = trained
    student = model.student
    tensors = from_ours(model.state_dict(), 'student', student.lora_scaling, student.key_map)
    export(base, tensors, tmp_path / 'out', str)
    before, after = (load_file(folder / 'model.safetensors') for folder in (base, tmp_path / 'out'))
    assert {n: t.shape for n, t in before.items()} == {n: t.shape for n, t in after.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert sum(name.startswith('language_model.') for name in changed) == LAYERS * RELEASED[family]
    assert not any(name.startswith('vision_model.') for name in changed)
    assert {'mlp1.1.weight', 'mlp1.3.weight'} <= changed
    assert {path.name for path in base.iterdir()} <= {path.name for path in (tmp_path / 'out').iterdir()}
    Sa2VA(tmp_path / 'out')
