"""Captions of both views, who finds the regions by them, and what only a second listener sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from projects.mask_caption_sft.evaluation.caption_probe.agreement import Agreement
from projects.mask_caption_sft.evaluation.caption_probe.probe import (
    HeardCaptions,
    describe_record,
    hear_captions,
    others_of,
    people_pairs,
    view_pairs,
)
from projects.mask_caption_sft.evaluation.caption_probe.report import found_means, found_table
from projects.mask_caption_sft.evaluation.word_probe.word_list import read_word_list
from projects.mask_caption_sft.loop.predict import predict_regions
from projects.mask_caption_sft.ops.mask import mask_iou
from tests.tiny_base import as_batch, says_instead, tiny_base, write_images

MAX_LEN = 10
WORDS = read_word_list('tiny')


@pytest.fixture(scope='module')
def model():
    return tiny_base()


@pytest.fixture(scope='module')
def samples(tmp_path_factory):
    """A record whose second view is mirrored, and the same the other way round."""
    sample = write_images(tmp_path_factory.mktemp('refcoco'), num_images=1)[0]
    rows = {mask.numpy().tobytes(): row for row, mask in enumerate(sample.view1.masks)}
    view = sample.view1
    view = replace(
        view,
        masks=view.masks[sorted(rows.values())],
        visual_prompts=view.visual_prompts[sorted(rows.values())],
    )
    names = ('pixel_values', 'g_pixel_values', 'visual_prompts', 'masks')
    flipped = {name: getattr(view, name).flip(-1) for name in names}
    mirrored = replace(view, image_id='mirrored', **flipped)
    texts = [None] * len(rows)
    return [
        replace(sample, sample_id='a', view1=view, view2=mirrored, expressions=texts),
        replace(sample, sample_id='b', view1=mirrored, view2=view, expressions=texts),
    ]


def hear(model, sample, regions, others):
    return hear_captions(model, sample, regions, others, WORDS, np.random.default_rng(0))


def iou(prediction, name):
    return mask_iou(prediction.masks[name][None], prediction.mask2[None]).item()


def test_captions_are_those_of_validation_in_both_views(model, samples):
    first, second = samples
    regions = describe_record(model, 7, first, MAX_LEN)
    expected = [p.caption for p in predict_regions(model, as_batch([first]), MAX_LEN)]
    turned = [p.caption for p in predict_regions(model, as_batch([second]), MAX_LEN)]
    assert [region.caption for region in regions] == expected
    assert [region.second_caption for region in regions] == turned != expected
    assert {(r.record, r.sample_id, r.image_ids) for r in regions} == {
        (7, 'a', (first.view1.image_id, first.view2.image_id))
    }


def test_a_model_finds_the_masks_that_validation_finds_with_its_controls(model, samples):
    sample = samples[0]
    regions = describe_record(model, 0, sample, MAX_LEN)
    others = [other.caption for other in others_of(regions)]
    heard = hear(model, sample, regions, others)
    expected = predict_regions(model, as_batch([sample]), MAX_LEN, answers='given')
    assert heard.ious == pytest.approx([iou(p, 'caption') for p in expected], abs=1e-4)
    assert heard.shuffled_ious == pytest.approx([iou(p, 'caption_shuffled') for p in expected], abs=1e-4)
    assert heard.blank_ious == pytest.approx([iou(p, 'caption_blank') for p in expected], abs=1e-4)
    assert max(heard.ious) > 0.5
    assert {word.case.expression for word in heard.probe.words} <= {region.caption for region in regions}
    assert len(heard.probe.words) >= len(regions)
    assert [word for words in heard.words for word in words] == heard.probe.words
    assert [{word.case.expression for word in words} for words in heard.words] == [
        {region.caption} for region in regions
    ]


def test_a_code_between_two_halves_is_found_by_them_and_by_no_second_listener(model, tmp_path):
    """One that says and reads red for blue, and circle for square, is in perfect agreement with itself."""
    (sample,) = write_images(tmp_path, num_images=1)
    sample = replace(sample, view2=replace(sample.view1, image_id='again'))
    plain = describe_record(model, 0, sample, MAX_LEN)
    swapped = says_instead(tiny_base(), Ġred='Ġblue', Ġsquare='Ġcircle')
    coded = describe_record(swapped, 0, sample, MAX_LEN)
    others = [region.caption for region in others_of(coded)]
    itself, second = hear(swapped, sample, coded, others), hear(model, sample, coded, others)
    true_ious = hear(model, sample, plain, [region.caption for region in others_of(plain)]).ious
    changed = [a.caption != b.caption for a, b in zip(plain, coded)]
    assert sum(changed) >= 2
    assert np.mean(itself.ious) == pytest.approx(np.mean(true_ious), abs=1e-3)
    assert np.mean(np.array(second.ious)[changed]) < np.mean(np.array(itself.ious)[changed]) - 0.1
    # Both views are called alike all the same; only people say otherwise.
    assert Agreement.of([*view_pairs(coded)], WORDS).by_kind['colour'][1] == 1
    with_people = [Agreement.of([*people_pairs(regions)], WORDS).by_kind for regions in (plain, coded)]
    assert with_people[1]['colour'][1] < with_people[0]['colour'][1] - 0.1


def test_a_region_with_several_expressions_is_described_once(model, tmp_path):
    (sample,) = write_images(tmp_path, num_images=1)
    regions = describe_record(model, 0, sample, MAX_LEN)
    num_different = len({mask.numpy().tobytes() for mask in sample.view1.masks})
    assert len(regions) == num_different < len(sample)
    assert sorted(text for region in regions for text in region.expressions) == sorted(sample.expressions)
    assert all(region.second_caption is None for region in regions)
    assert [*view_pairs(regions)] == []
    pairs = [*people_pairs(regions)]
    assert len(pairs) == len(sample)
    first, last = regions[0], regions[-1]
    assert pairs[0].other == last.expressions[0]
    assert (pairs[0].first, pairs[0].second) == (first.caption, first.expressions[0])


def test_what_is_not_visible_in_both_views_is_left_out(model, samples):
    sample = samples[0]
    masks = sample.view2.masks.clone()
    masks[0] = False
    regions = describe_record(model, 0, replace(sample, view2=replace(sample.view2, masks=masks)), MAX_LEN)
    assert [region.row for region in regions] == list(range(1, len(sample)))
    nothing = replace(sample, view2=replace(sample.view2, masks=torch.zeros_like(masks)))
    assert describe_record(model, 0, nothing, MAX_LEN) == []


def test_a_region_alone_takes_the_caption_of_the_one_before(model, samples):
    regions = [describe_record(model, n, sample, MAX_LEN)[0] for n, sample in enumerate(samples)]
    assert others_of(regions) == regions[::-1]
    assert others_of(regions[:1]) == []
    heard = hear(model, samples[0], regions[:1], [])
    assert heard.shuffled_ious == []
    assert len(heard.ious) == len(heard.blank_ious) == 1
    (pair,) = view_pairs(regions[:1])
    assert pair.other is None


def test_images_are_put_together_and_nothing_has_no_mean(model, samples):
    both = HeardCaptions()
    for number, sample in enumerate(samples):
        regions = describe_record(model, number, sample, MAX_LEN)
        both.add(hear(model, sample, regions, [other.caption for other in others_of(regions)]))
    assert (
        len(both.ious)
        == len(both.words)
        == len(both.shuffled_ious)
        == len(both.blank_ious)
        == sum(map(len, samples))
    )
    means = found_means(both)
    assert means['ious'] == pytest.approx(np.mean(both.ious))
    assert means['shuffled_ious'] == pytest.approx(np.mean(both.shuffled_ious))
    *_, empty = found_table({'both': both, 'nobody': HeardCaptions()}).splitlines()
    assert empty == '| nobody | - | - | - |'
