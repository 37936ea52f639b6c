"""Validation keeps the best of several captions, by the described view alone."""

import pytest
import torch
from mmengine.optim import OptimWrapper

from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.loop.objectives import BestOfK
from projects.mask_caption_sft.loop.predict import predict_regions
from projects.mask_caption_sft.loop.rerank import describe_best
from projects.mask_caption_sft.structures import RegionBatch, RegionViews
from tests.miniature import miniature_batch, miniature_model, miniature_sa2va, objectives
from tests.scripted_loop import part_of

WITHOUT_TEXT = [None, None]


def listens_as_scripted(student, texts: list[str], ious: list[list[float]]) -> list[RegionViews]:
    """It writes these texts, one after the other for each region; its masks reach these IoUs, by region.

    Returns:
        The views in which it segments, pass by pass.
    """
    num_regions = len(ious[0])
    written = student.text.encode_answers([text for text in texts for _ in range(num_regions)])
    student.describe = lambda *args, **kwargs: written
    tokens = {text: student.text.encode_captions([text])[0] for text in texts}
    embeds = [student.embed_ids(torch.tensor(ids, dtype=torch.long)) for ids in tokens.values()]
    by_text = dict(zip(texts, ious))
    segment, seen = student.segment, []

    def segment_as_scripted(views, asked, prefix):
        seen.append(views)
        result = segment(views, asked, prefix)
        for number, (embed, keep) in enumerate(zip(asked.embeds, asked.mask)):
            text = next(t for t, e in zip(tokens, embeds) if torch.equal(e, embed[keep]))
            region = int(
                views.visual_prompts[number].flatten().nonzero()
            )  # the miniature's region r marks cell r
            part = part_of(views.masks[number], by_text[text][region])
            result.mask_logits[number] = torch.where(part, 1.0, -1.0)
        return result

    student.segment = segment_as_scripted
    return seen


def chosen(texts: list[str], ious: list[list[float]]) -> tuple[list[str], list[RegionViews], RegionBatch]:
    """What is kept of these texts, where they were segmented for that, and the batch."""
    student, batch = miniature_sa2va().eval(), miniature_batch([None] * len(ious[0]))
    seen = listens_as_scripted(student, texts, ious)
    views1, _ = student.look(batch)
    return describe_best(student, views1, 5, len(texts)).texts, seen, batch


def test_each_region_keeps_the_caption_from_which_it_is_found_best():
    kept, _, _ = chosen(
        ['red', 'star', 'blue'],
        [[0.25, 0.75, 0.5],
         [0.5, 0.25, 0.75],
         [0.75, 0.5, 0.25]],
    )  # fmt: skip
    assert kept == ['blue', 'red', 'star']


def test_only_the_described_view_is_looked_at():
    _, seen, batch = chosen(['red', 'star'], [[0.25, 0.75], [0.5, 0.25]])
    assert batch.image_index1.tolist() != batch.image_index2.tolist()
    assert [views.image_index.tolist() for views in seen] == [batch.image_index1.tolist() * 2]


def test_the_first_of_equals_is_kept_and_the_greedy_one_is_first():
    assert chosen(['red', 'star', 'blue'], [[0.5, 0.25], [0.5, 0.75], [0.5, 0.75]])[0] == ['red', 'star']


def test_an_empty_caption_is_kept_only_where_there_is_no_other():
    assert chosen(['red', ''], [[0.25], [1.0]])[0] == ['red']
    assert chosen(['', 'star'], [[0.25], [0.0]])[0] == ['star']
    assert chosen(['', ''], [[0.25], [0.25]])[0] == ['']


def test_masks_and_controls_are_of_the_captions_that_were_kept():
    student, batch = miniature_sa2va().eval(), miniature_batch(WITHOUT_TEXT, ['the red circle'])
    greedy = predict_regions(student, batch, 5, 'given')
    best = predict_regions(student, batch, 5, 'given', num_captions=8)
    assert [p.caption for p in best] != [p.caption for p in greedy]
    assert [p.best_of for p in greedy + best] == [1] * 3 + [8] * 3
    kept = student.text.encode_answers([p.caption for p in best])
    student.describe = lambda *args, **kwargs: kept
    for prediction, expected in zip(best, predict_regions(student, batch, 5, 'given')):
        assert prediction.masks.keys() == expected.masks.keys()
        assert all(torch.equal(prediction.masks[name], mask) for name, mask in expected.masks.items())


def test_with_one_caption_it_is_the_greedy_one_and_nothing_is_segmented_for_it():
    student, batch = miniature_sa2va().eval(), miniature_batch(WITHOUT_TEXT, ['the red circle'])
    views1, _ = student.look(batch)
    segmented, segment = [], student.segment
    student.segment = lambda views, *args: segmented.append(len(views)) or segment(views, *args)
    assert describe_best(student, views1, 5).texts == student.describe(views1, 5).texts
    assert segmented == []


def test_captions_are_segmented_in_parts_with_the_same_result():
    student, batch = miniature_sa2va().eval(), miniature_batch([None] * 3, [None] * 2)
    views1, _ = student.look(batch)
    written, segment, sizes = student.describe(views1, 5, 4), student.segment, []
    student.describe = lambda *args, **kwargs: written
    student.segment = lambda views, *args: sizes.append(len(views)) or segment(views, *args)
    whole, parts = (describe_best(student, views1, 5, 4, at_once=at_once).texts for at_once in (None, 3))
    assert whole == parts != written.texts[:5]
    assert sizes[0] == sum(sizes[1:]) > 5
    assert max(sizes[1:]) == 3


# ------------------------------------------------------------------ random numbers


def predicting(num_captions: int = 4, **settings) -> MaskCaptionSFT:
    """Answers are given: this model would write its own to the last token."""
    return miniature_model(predict_captions=num_captions, predict_answers='given', **settings).eval()


def captions_of(model: MaskCaptionSFT, batch: RegionBatch | None = None) -> list[str]:
    return [p.caption for p in model(batch or miniature_batch(), mode='predict')]


def test_the_same_regions_get_the_same_captions_whatever_was_drawn_before():
    model, batch = predicting(), miniature_batch()
    torch.manual_seed(1)
    first = captions_of(model, batch)
    torch.manual_seed(2)
    assert captions_of(model, batch) == first
    batch.sample_ids = [f'another {name}' for name in batch.sample_ids]
    assert captions_of(model, batch) != first


def test_they_are_sampled_as_the_model_says():
    greedy = captions_of(predicting(1))
    assert captions_of(predicting(4)) != greedy
    assert captions_of(predicting(4, sampling=dict(top_k=1))) == greedy  # the likeliest token is all there is


def test_the_random_stream_goes_on_as_if_nothing_had_been_predicted():
    model = predicting()
    before = torch.get_rng_state()
    captions_of(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_predicts_in_between_trains_as_one_that_does_not():
    """Dropout, sampled captions and all, bit for bit; nothing seeds the iterations here."""

    def train(predicts: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        taught = objectives(best=BestOfK(margin_iou=-1.0, min_iou=0.0))
        sa2va = miniature_sa2va(lora=dict(r=4, lora_alpha=8, lora_dropout=0.25))
        model = predicting(sa2va=sa2va, objectives=taught)
        wrapper = OptimWrapper(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-2))
        for _ in range(2):
            model.train().train_step({'batch': miniature_batch()}, wrapper)
            if predicts:
                captions_of(model.eval())
        return model.state_dict()

    alone, between = train(predicts=False), train(predicts=True)
    assert all(torch.equal(alone[name], value) for name, value in between.items())


# ------------------------------------------------------------------ the setting


@pytest.mark.parametrize('count', [0, -1])
def test_fewer_captions_than_the_greedy_one_are_refused(count):
    with pytest.raises(
        ValueError, match=f'predict_captions={count} is less than 1, the greedy one. Raise it'
    ):
        miniature_model(predict_captions=count)
