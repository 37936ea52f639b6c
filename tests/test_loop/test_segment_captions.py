"""Which captions teach the student's segmenter."""

import math

import pytest
import torch

from projects.mask_caption_sft.loop.objectives import SegmentCaptions
from projects.mask_caption_sft.loop.objectives.segment_captions import confidence
from projects.mask_caption_sft.losses import mask_bce_loss
from projects.mask_caption_sft.sa2va.questions import Questions
from projects.mask_caption_sft.structures import CaptionLogits
from tests.miniature import miniature_batch, miniature_model, objectives
from tests.scripted_loop import scripted

WITHOUT_TEXT = [None, None]


def test_the_gate_lets_only_captions_pass_from_which_the_teacher_found_the_object(monkeypatch):
    model = miniature_model(objectives=dict(segment=SegmentCaptions(gate_iou=0.5)))
    taught = []
    segment = Questions.segment
    monkeypatch.setattr(
        Questions,
        'segment',
        lambda asked, views, texts: (
            (asked.model is model.student and taught.append(views.image_index.tolist()))
            or segment(asked, views, texts)
        ),
    )
    batch = miniature_batch([None], [None])
    scripted(model, ['red circle', 'star'], [0.25, 0.75])
    losses = model.loss(batch)
    assert taught == [[int(batch.image_index2[1])]]
    assert losses['signal/gate_open_ratio'] == 0.5
    closed = miniature_model(objectives=dict(segment=SegmentCaptions(gate_iou=1.01)))
    assert 'loss_mask' not in closed.loss(batch)


def test_the_gate_looks_at_the_caption_that_the_student_reads_not_at_the_soft_tokens():
    """The masks from soft tokens are perfect here, those from the words are not."""
    model = miniature_model(objectives=objectives(segment_captions=SegmentCaptions(gate_iou=0.5)))
    scripted(model, ['red circle', 'star'], [0.25, 0.25])
    segment = model.teacher.segment

    def perfect_with_gradient(views, texts, prefix):
        result = segment(views, texts, prefix)
        if torch.is_grad_enabled():
            result.mask_logits = result.mask_logits * 0 + torch.where(views.masks, 9.0, -9.0)
        return result

    model.teacher.segment = perfect_with_gradient
    losses = model.loss(miniature_batch(WITHOUT_TEXT))
    assert losses['signal/bridge_iou'] == 1
    assert losses['signal/gate_open_ratio'] == 0


def test_an_open_gate_asks_the_teacher_nothing():
    model = miniature_model(objectives=dict(segment=SegmentCaptions(gate_iou=0.0))).eval()
    model.teacher.segment = None
    assert model.loss(miniature_batch(WITHOUT_TEXT))['loss_mask'] > 0


def test_confidence_is_that_of_the_least_likely_token_by_hand():
    logits = torch.zeros(2, 3, 2)
    logits[0, 1, 0] = math.log(3.0)  # 3/4 for token 0, 1/4 for token 1
    targets = torch.tensor([[0, 1, 0], [1, -100, -100]])
    assert confidence(CaptionLogits(logits, targets)).tolist() == pytest.approx([0.25, 0.5])


def test_only_captions_teach_that_the_describer_was_sure_of(monkeypatch):
    segmenting = SegmentCaptions(gate_iou=0.0, min_confidence=0.5)
    model = miniature_model(objectives=dict(segment=segmenting)).eval()
    model.teacher.segment = None  # nobody has to find them
    batch = miniature_batch(WITHOUT_TEXT)
    where = 'projects.mask_caption_sft.loop.objectives.segment_captions.confidence'
    monkeypatch.setattr(where, lambda scores: torch.tensor([0.4, 0.6]))
    losses = model.loss(batch)
    assert losses['signal/sure_ratio'] == 0.5
    views1, views2 = model.student.look(batch)
    captions = model.student.describe(views1, model.max_caption_len)
    second = torch.tensor([1])
    texts = model.student.embed_captions(captions[second].texts)
    alone = model.student.segment(views2[second], texts)
    expected = model.segmentation_losses.mask_weight * mask_bce_loss(alone.mask_logits, views2.masks[second])
    assert losses['loss_mask'].item() == pytest.approx(expected.item(), rel=1e-4)
    monkeypatch.setattr(where, lambda scores: torch.tensor([0.4, 0.3]))
    assert 'loss_mask' not in model.loss(batch)


def test_sure_is_who_the_describer_was_before_training_not_who_it_has_become(monkeypatch):
    """A describer that was trained to write anything is sure of it."""
    model = miniature_model(objectives=dict(segment=SegmentCaptions(gate_iou=0.0, min_confidence=0.5))).eval()
    batch = miniature_batch(WITHOUT_TEXT)
    seen = []
    where = 'projects.mask_caption_sft.loop.objectives.segment_captions.confidence'
    monkeypatch.setattr(where, lambda scores: seen.append(scores.logits) or confidence(scores))
    with torch.no_grad():
        for name, parameter in model.student.named_parameters():
            if 'lora_B' in name:
                parameter.normal_(0, 0.5)
    model.loss(batch)
    views1, _ = model.student.look(batch)
    captions = model.student.describe(views1, model.max_caption_len)
    torch.testing.assert_close(seen[0], model.student.score_at_start(views1, captions).logits)
    now = model.student.score(views1, captions).logits
    assert (seen[0] - now).abs().max() > 0.1
