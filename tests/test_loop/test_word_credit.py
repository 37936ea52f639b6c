"""Only words that help are taught."""

import pytest
import torch

from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.loop.word_credit import WordCredit
from tests.miniature import miniature_batch, miniature_model
from tests.scripted_loop import part_of


def hearing(model, needed: dict[str, float]) -> None:
    """The teacher finds 1 of a region, less what each missing word costs."""
    heard: list[str] = []
    embed = model.teacher.embed_captions
    segment = model.teacher.segment

    def remember(texts):
        heard[:] = texts
        return embed(texts)

    def segment_what_was_heard(views, embeds, prefix):
        result = segment(views, embeds, prefix)
        for row, text in enumerate(heard):
            lost = sum(cost for word, cost in needed.items() if word not in text.split())
            result.mask_logits[row] = torch.where(part_of(views.masks[row], 1 - lost), 1.0, -1.0)
        return result

    model.teacher.embed_captions, model.teacher.segment = remember, segment_what_was_heard


def test_a_word_without_which_the_region_is_found_as_well_is_not_taught():
    best = BestOfK(weight=1.0, margin_iou=0.05, min_iou=0.5, credit=dict(min_drop=0.1))
    model, batch = miniature_model(num_captions=2, objectives=dict(best=best)).eval(), miniature_batch([None])
    written = model.student.text.encode_answers(['the circle', 'small red star'])
    model.student.describe = lambda *args: written
    hearing(model, {'red': 0.3, 'star': 0.5})
    found = model.loss(batch)
    assert found['signal/helping_ratio'].item() == pytest.approx(2 / 3)

    views1, _ = model.student.look(batch)
    scores = model.student.score(views1, model.student.text.encode_answers(['small red star']))
    chosen = scores.logits.log_softmax(-1).gather(-1, scores.targets[..., None])[0, :, 0]
    expected = -chosen[1:].mean()  # red, star, and the end of turn
    assert found['loss_best'].item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_repeated_word_helps_nowhere():
    model, batch = miniature_model(num_captions=1), miniature_batch([None])
    hearing(model, {'red': 0.5})
    captions = model.student.text.encode_answers(['red red'])
    step = type('Step', (), {})()
    _, step.views2 = model.student.look(batch)
    step.segmenter, step.student, step.segmenter_prefix = model.teacher, model.student, None
    taught = WordCredit()(step, torch.tensor([0]), captions, torch.tensor([1.0]))
    assert taught[captions.in_caption].tolist() == [False, False]
