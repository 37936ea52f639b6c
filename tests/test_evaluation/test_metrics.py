"""Metrics agree with ten lines that know nothing of them."""

import numpy as np
import pytest
import torch

from projects.mask_caption_sft.evaluation.mask_cycle_metric import MaskCycleMetric
from projects.mask_caption_sft.evaluation.ref_seg_metric import RefSegMetric
from projects.mask_caption_sft.evaluation.region_caption_metric import RegionCaptionMetric
from projects.mask_caption_sft.structures import RegionPrediction


def random_prediction(number: int, expression: str | None = 'the cat', **changes) -> RegionPrediction:
    generator = torch.Generator().manual_seed(number)

    def mask():
        return torch.rand(9, 7, generator=generator) > 0.5

    names = ('expression', 'caption', 'caption_same_view', 'caption_shuffled', 'caption_blank')
    fields = dict(
        dataset='refcoco', sample_id=f'record{number // 2}', image_ids=('a', 'b'), expression=expression,
        caption=f'word{number} of', mask1=mask(), mask2=mask(), masks={name: mask() for name in names},
    )  # fmt: skip
    return RegionPrediction(**{**fields, **changes})


def scores(metric, predictions):
    metric.process({}, predictions)
    return metric.evaluate(size=len({p.sample_id for p in predictions}))


def independent_scores(pairs) -> dict[str, float]:
    """Straight from the definitions, in NumPy."""
    intersections, unions, ious = 0, 0, []
    for found, truth in pairs:
        both, either = np.logical_and(found, truth).sum(), np.logical_or(found, truth).sum()
        intersections, unions = intersections + both, unions + either
        ious.append(both / either if either else 1.0)
    precision = {f'P@{t}': np.mean([iou >= t for iou in ious]) for t in (0.5, 0.7, 0.9)}
    return {'cIoU': intersections / unions, 'mIoU': np.mean(ious), **precision}


def test_ref_seg_scores_equal_an_independent_computation():
    predictions = [random_prediction(number) for number in range(20)]
    predictions[3].masks['expression'] = predictions[3].mask2
    found = scores(RefSegMetric(), predictions)
    expected = independent_scores([(p.masks['expression'].numpy(), p.mask2.numpy()) for p in predictions])
    for name, value in expected.items():
        assert found[f'ref_seg/{name}'] == pytest.approx(value, abs=1e-12), name
    assert (found['ref_seg/counted'], found['ref_seg/invalid']) == (20, 0)


def test_ciou_and_miou_by_hand():
    truth = torch.tensor([[1, 1, 0, 0]]).bool()
    half = torch.tensor([[1, 0, 0, 0]]).bool()
    wide = torch.ones(1, 4).bool()
    predictions = [
        random_prediction(number, mask2=truth, masks={'expression': mask})
        for number, mask in enumerate((half, wide))
    ]
    found = scores(RefSegMetric(), predictions)
    assert found['ref_seg/cIoU'] == pytest.approx((1 + 2) / (2 + 4))
    assert found['ref_seg/mIoU'] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found['ref_seg/P@0.5'] == 1.0
    assert found['ref_seg/P@0.7'] == 0.0


def test_expressions_are_counted_by_the_words_they_hold():
    texts = ['the Red star', 'the red circle', 'the starfish', 'a blue star']
    predictions = [random_prediction(number, expression=text) for number, text in enumerate(texts)]
    for kept, metric in (
        ([0, 3], RefSegMetric(holds=['star'])),
        ([2, 3], RefSegMetric(lacks=['red'])),
        ([3], RefSegMetric(holds=['star', 'circle'], lacks=['red'])),
    ):
        found = scores(metric, predictions)
        alone = scores(RefSegMetric(), [predictions[number] for number in kept])
        assert found == alone


def test_a_missing_mask_counts_as_empty_and_as_invalid():
    predictions = [random_prediction(0), random_prediction(1)]
    whole = scores(RefSegMetric(), predictions)['ref_seg/cIoU']
    del predictions[1].masks['expression']
    found = scores(RefSegMetric(), predictions)
    assert found['ref_seg/invalid'] == 1
    assert 0 < found['ref_seg/cIoU'] < whole


def without_answer(number: int) -> RegionPrediction:
    """As validation hands it over when the model wrote no [SEG]: empty masks, each named."""
    prediction = random_prediction(number)
    prediction.masks = {name: torch.zeros_like(mask) for name, mask in prediction.masks.items()}
    prediction.without_seg = set(prediction.masks)
    return prediction


def test_a_mask_without_seg_counts_as_empty_and_as_invalid():
    answered = [random_prediction(0), random_prediction(2)]
    truth = sum(int(p.mask2.sum()) for p in (*answered, without_answer(4)))
    both = sum(int((p.masks['expression'] & p.mask2).sum()) for p in answered)
    extra = sum(int((p.masks['expression'] & ~p.mask2).sum()) for p in answered)
    found = scores(RefSegMetric(), [*answered, without_answer(4)])
    assert found['ref_seg/cIoU'] == pytest.approx(both / (truth + extra))
    assert (found['ref_seg/counted'], found['ref_seg/invalid']) == (3, 1)
    whole = scores(MaskCycleMetric(), answered)['mask_cycle/second_view_iou']
    found = scores(MaskCycleMetric(), [*answered, without_answer(4)])
    assert found['mask_cycle/second_view_iou'] == pytest.approx(2 / 3 * whole)
    assert (found['mask_cycle/counted'], found['mask_cycle/invalid']) == (3, 1)


def test_left_out_as_upstream_it_adds_nothing_to_ciou_and_nothing_to_the_mean():
    predictions = [random_prediction(0), without_answer(2)]
    alone = scores(RefSegMetric(), predictions[:1])
    found = scores(RefSegMetric(missing='left_out'), predictions)
    assert found['ref_seg/cIoU'] == alone['ref_seg/cIoU']
    assert found['ref_seg/mIoU'] == pytest.approx(alone['ref_seg/mIoU'] / 2)
    assert found['ref_seg/invalid'] == 1
    assert scores(RefSegMetric(missing='left_out'), predictions[1:])['ref_seg/cIoU'] == 0
    with pytest.raises(ValueError, match="missing='skipped' is not one of 'empty', 'left_out'"):
        RefSegMetric(missing='skipped')


def test_given_answers_are_another_measurement_and_have_another_name():
    given = [random_prediction(number, answers='given') for number in range(2)]
    metric = RefSegMetric(prefix='refcoco_val')
    assert 'refcoco_val_given/cIoU' in scores(metric, given)
    assert 'refcoco_val/cIoU' in scores(metric, [random_prediction(0)])  # the same metric, in the next epoch
    assert 'mask_cycle_given/second_view_iou' in scores(MaskCycleMetric(), given)
    assert 'region_caption/counted' in scores(
        RegionCaptionMetric(meteor=False), given
    )  # captions are written


def test_the_best_of_four_captions_is_another_measurement_and_has_another_name():
    best = [random_prediction(number, best_of=4) for number in range(2)]
    assert 'mask_cycle_best_of_4/second_view_iou' in scores(MaskCycleMetric(), best)
    assert 'region_caption_best_of_4/CIDEr' in scores(RegionCaptionMetric(meteor=False), best)
    assert 'ref_seg/cIoU' in scores(RefSegMetric(), best)  # people's words
    given = [random_prediction(0, best_of=4, answers='given')]
    assert 'sav_best_of_4_given/blank_iou' in scores(MaskCycleMetric(prefix='sav'), given)


def test_two_empty_masks_agree():
    empty = torch.zeros(2, 2).bool()
    found = scores(RefSegMetric(), [random_prediction(0, mask2=empty, masks={'expression': empty})])
    assert found['ref_seg/mIoU'] == 1.0


def test_no_expression_at_all_is_said_not_scored():
    found = scores(RefSegMetric(), [random_prediction(0, expression=None)])
    assert found == {'ref_seg/counted': 0, 'ref_seg/invalid': 0}


def test_every_region_of_an_image_is_counted_although_the_loader_counts_images():
    predictions = [random_prediction(number, sample_id='one image') for number in range(5)]
    assert scores(RefSegMetric(), predictions)['ref_seg/counted'] == 5


def test_mask_cycle_scores_equal_an_independent_computation():
    predictions = [random_prediction(number) for number in range(12)]
    found = scores(MaskCycleMetric(), predictions)
    for name, mask, truth in (
        ('second_view_iou', 'caption', 'mask2'), ('same_view_iou', 'caption_same_view', 'mask1'),
        ('shuffled_iou', 'caption_shuffled', 'mask2'), ('blank_iou', 'caption_blank', 'mask2'),
    ):  # fmt: skip
        expected = independent_scores(
            [(p.masks[mask].numpy(), getattr(p, truth).numpy()) for p in predictions]
        )
        assert found[f'mask_cycle/{name}'] == pytest.approx(expected['mIoU'], abs=1e-6), name


def test_the_right_mask_is_picked_when_it_overlaps_most():
    masks = torch.eye(3).bool()[:, None]  # three regions of one pixel each
    right = random_prediction(0, mask2=masks[1], confusers=masks, confuser_index=1)
    right.masks['caption'] = masks[1]
    wrong = random_prediction(1, mask2=masks[1], confusers=masks, confuser_index=1)
    wrong.masks['caption'] = masks[2]
    nothing = random_prediction(2, mask2=masks[0], confusers=masks, confuser_index=0)
    nothing.masks['caption'] = torch.zeros(1, 3).bool()
    for prediction in (right, wrong, nothing):
        for name in ('caption_same_view', 'caption_shuffled', 'caption_blank'):
            prediction.masks.pop(name)
    found = scores(MaskCycleMetric(), [right, wrong, nothing])
    assert found['mask_cycle/confuser_accuracy'] == pytest.approx(1 / 3)


def test_captions_are_described_by_length_variety_and_the_most_frequent():
    texts = ['a cat', 'a cat', 'a red dog', 'the bird']
    predictions = [random_prediction(number, caption=text) for number, text in enumerate(texts)]
    found = scores(MaskCycleMetric(), predictions)
    assert found['mask_cycle/caption_len'] == 9 / 4
    assert found['mask_cycle/distinct_1'] == pytest.approx(6 / 9)  # a cat red dog the bird
    assert found['mask_cycle/distinct_2'] == pytest.approx(4 / 5)  # a cat, a red, red dog, the bird
    assert found['mask_cycle/top_caption_share'] == 0.5


def test_only_the_named_datasets_are_counted():
    predictions = [random_prediction(0), random_prediction(2, dataset='sav_val')]
    metrics = [RefSegMetric(datasets=[name], prefix=name) for name in ('refcoco', 'sav_val')]
    for prediction, metric in zip(predictions, metrics):
        found, alone = scores(metric, predictions), scores(RefSegMetric(), [prediction])
        assert found == {name.replace('ref_seg', prediction.dataset): v for name, v in alone.items()}
    assert scores(MaskCycleMetric(datasets=['sav_val']), predictions)['mask_cycle/counted'] == 1
