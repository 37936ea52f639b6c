"""Many masks take no more memory than a few, and are the same."""

import pytest
import torch

from projects.mask_caption_sft.grounding.masks import decode_masks
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.miniature import miniature_batch, miniature_sa2va
from tests.noted_memory import Noted


@pytest.fixture(scope='module')
def model() -> Sa2VA:
    return miniature_sa2va().eval()


def decode(model: Sa2VA, num_masks: int, recompute: bool = False):
    """Masks of noise in two images, and the noise."""
    features = model.look(miniature_batch([None]))[0].features
    rows = torch.arange(num_masks) % 2
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(num_masks, model.grounding_encoder.config.mask_decoder_config.hidden_size,
                         generator=generator).requires_grad_()  # fmt: skip
    return decode_masks(model.grounding_encoder, features.grounding, rows, embeds, recompute), embeds


def test_masks_without_gradient_are_those_with_it(model):
    (expected, expected_iou), _ = decode(model, 19)
    with torch.no_grad():
        (found, found_iou), _ = decode(model, 19)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found_iou, expected_iou, atol=1e-5, rtol=0)


def test_memory_without_gradient_grows_by_the_masks_alone(model):
    peaks = []
    for num_masks in (16, 48):
        with torch.no_grad(), Noted() as noted:
            decode(model, num_masks)
        peaks.append(noted.memory.peak)
    masks = 3 * 32 * 32 * 4  # three candidates in float32, held by the parts and by what joins them
    assert peaks[1] - peaks[0] < 2.2 * 32 * masks


@pytest.mark.parametrize('autocast', [False, True])
def test_a_decoder_that_runs_again_gives_the_same_gradients_and_keeps_little(model, autocast):
    gradients, kept = [], []
    for recompute in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast), Noted() as noted:
            (masks, iou_scores), embeds = decode(model, 6, recompute)
        kept.append(noted.memory.now)
        (masks.float().square().mean() + iou_scores.float().sum()).backward()
        weights = model.grounding_encoder.mask_decoder.parameters()
        gradients.append([embeds.grad, *(p.grad for p in weights if p.grad is not None)])
        model.zero_grad(set_to_none=True)
    for found, expected in zip(*gradients, strict=True):
        assert torch.equal(found, expected)
    assert len(gradients[0]) > 50
    assert kept[1] < kept[0] / 2.5  # what is left are the images' features and the masks


def test_a_model_with_checkpointing_runs_the_mask_decoder_again():
    assert not miniature_sa2va().recompute_masks
    assert miniature_sa2va(activation_checkpointing=True).recompute_masks
