"""The loop under the 4B run's conditions with SAM 3: bfloat16, autocast, the teacher, the export."""

import pytest
import torch
from safetensors.torch import load_file
from torch.optim import AdamW

from projects.mask_caption_sft.checkpoints.export import export
from projects.mask_caption_sft.checkpoints.trained_tensors import from_ours
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.miniature import miniature_batch, objectives, with_live_lora
from tests.sam3_base import HAS_SAM3, PREFIX, WHY_NOT, new_sam3, write_sam3_base

pytestmark = pytest.mark.skipif(not HAS_SAM3, reason=WHY_NOT)
LORA = dict(r=4, lora_alpha=8, lora_dropout=0.05)


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_sam3_base(tmp_path_factory.mktemp('base'), dtype=torch.bfloat16)


@pytest.fixture(scope='module')
def trained(base):
    """The loop after an update, and the gradients that it made."""
    torch.manual_seed(0)
    sa2va = Sa2VA(base, lora=LORA, base_dtype='released', activation_checkpointing=True)
    taught = objectives(best_of_k=BestOfK(weight=5.0, margin_iou=-1.0, min_iou=0.0))
    model = MaskCaptionSFT(
        with_live_lora(sa2va, 0), taught, max_caption_len=5, num_captions=4, predict_dtype='bfloat16'
    ).train()
    batch = miniature_batch()
    batch.g_pixel_values = batch.g_pixel_values[..., :112, :112]
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with torch.autocast('cpu', torch.bfloat16):
        total, _ = model.parse_losses(model.loss(batch))
    total.backward()
    gradients = {n: p.grad for n, p in model.student.named_parameters() if p.requires_grad}
    optimizer.step()
    return model, gradients


def test_every_trained_tensor_gets_a_gradient(trained):
    _, gradients = trained
    unused = [n for n, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()]
    decoder = 'grounding_encoder.mask_decoder.'
    assert [name for name in unused if not name.startswith(decoder)] == []
    # Of its candidates one is used, and nothing is learned of their scores.
    heads = ('output_hypernetworks_mlps.', 'pred_obj_score_head.', 'iou_prediction_head.')
    assert all(name.removeprefix(decoder).startswith(heads) for name in unused)


def test_the_encoder_stays_in_bfloat16_and_is_shared_with_the_teacher(trained):
    model, _ = trained
    encoder = model.student.grounding_encoder.vision_encoder
    assert encoder.backbone.layers[0].mlp.fc1.weight.dtype == torch.bfloat16
    assert encoder.backbone.layers[0].layer_norm1.weight.dtype == torch.float32
    assert model.teacher.grounding_encoder.vision_encoder is encoder
    decoder = model.student.grounding_encoder.mask_decoder
    assert all(p.dtype == torch.float32 for p in decoder.parameters())
    assert model.teacher.grounding_encoder.mask_decoder is not decoder


def test_the_export_changes_what_was_trained_and_nothing_else(trained, base, tmp_path):
    model, _ = trained
    student = model.student
    tensors = from_ours(model.state_dict(), 'student', student.lora_scaling, student.key_map)
    export(base, tensors, tmp_path / 'out', str)
    before, after = (load_file(folder / 'model.safetensors') for folder in (base, tmp_path / 'out'))
    assert {n: (t.shape, t.dtype) for n, t in before.items()} == {
        n: (t.shape, t.dtype) for n, t in after.items()
    }
    changed = {n for n in before if n.startswith(PREFIX) and not torch.equal(before[n], after[n])}
    assert len(changed) > 80  # all but unused candidates and scores
    assert all(name.startswith(PREFIX + 'sam_mask_decoder.') for name in changed)
    constants = PREFIX + 'backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis'
    assert after[constants].dtype == torch.complex64
    assert Sa2VA(tmp_path / 'out').grounding_kind.name == 'SAM 3'


def test_bfloat16_masks_are_near_those_in_float32(base):
    pixels = torch.randint(0, 256, (1, 3, 112, 112), generator=torch.Generator().manual_seed(1)).byte()
    masks = []
    for base_dtype in ('float32', 'released'):
        model = Sa2VA(base, base_dtype=base_dtype).eval()
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=base_dtype == 'released'):
            levels = model.encode_grounding(pixels)
            embeds = torch.ones(1, model.grounding_kind.hidden_size)
            zero = torch.zeros(1, dtype=torch.long)
            masks.append(
                model.grounding_kind.decode(model.grounding_encoder, levels, zero, embeds)[0].float()
            )
    assert masks[0].std() > 20 * (masks[0] - masks[1]).abs().mean() > 0


def test_what_is_written_is_read_again(tmp_path):
    model = new_sam3(1)
    folder = write_sam3_base(tmp_path / 'base', 1)
    again = dict(Sa2VA(folder).named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(again[name], parameter), name
