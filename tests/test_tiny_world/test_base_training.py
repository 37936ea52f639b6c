"""How the tiny base is made."""

import math

import pytest
import torch

from projects.mask_caption_sft.tiny_world.base_model import new_sa2va
from projects.mask_caption_sft.tiny_world.base_training import Sa2VABaseTraining, pick_loss
from tests.miniature import SIZES, miniature_batch


def trainer(**kwargs) -> Sa2VABaseTraining:
    return Sa2VABaseTraining(new_sa2va(0, SIZES, train_all=True), **kwargs).train()


def test_image_tokens_come_after_the_first_phase_and_at_first_every_other_time():
    model = trainer(text_only_iters=2, mixed_iters=4)
    seen = []
    ask = model.student.ask
    model.student.ask = lambda features, show_images=None: (
        ask(features) if show_images is None else seen.append(show_images) or ask(features, None, show_images)
    )
    batch = miniature_batch(['the red circle', 'the star'])
    names = [set(model.loss(batch)) for _ in range(9)]
    assert seen == [False, False, True, False, True, False, True, True, True]
    assert ['loss_words' in n for n in names] == [True] * 6 + [False] * 3
    assert ['loss_caption' in n for n in names] == seen


def test_every_weight_learns():
    model = trainer(text_only_iters=0, mixed_iters=0, caption_ratio=1.0)
    total, _ = model.parse_losses(model.loss(miniature_batch(['the red circle', 'the star'])))
    total.backward()
    parts = (
        'vision_tower',
        'multi_modal_projector',
        'language_model',
        'vision_encoder',
        'mask_decoder',
        'text_hid',
    )
    for part in parts:
        assert any(p.grad is not None and p.grad.any() for n, p in model.named_parameters() if part in n), (
            part
        )


def test_only_covered_words_teach_captions_at_the_full_rate():
    model = trainer(caption_words=['the', 'red', 'circle'], caption_ratio=0.5, rest_caption_ratio=0.02)
    assert model._caption_ratio_of('the red circle') == 0.5
    assert model._caption_ratio_of('the yellow circle') == 0.02


def test_pick_loss_by_hand():
    masks = torch.tensor([[[1, 0]], [[0, 1]]]).bool()
    logits = torch.tensor([[[8.0, 0.0]], [[8.0, 0.0]]])  # both say the first; a quarter of 8 is 2
    right, wrong = -math.log(math.e**2 / (math.e**2 + 1)), -math.log(1 / (math.e**2 + 1))
    found = pick_loss(logits, masks, torch.tensor([0, 0]))
    assert found.item() == pytest.approx((right + wrong) / 2)


def test_regions_of_other_images_do_not_compete():
    masks, logits = torch.ones(2, 1, 2).bool(), torch.randn(2, 1, 2)
    assert pick_loss(logits, masks, torch.tensor([0, 1])).item() == 0.0
