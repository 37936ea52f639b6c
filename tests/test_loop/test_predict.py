"""Validation: what is asked of the model, and what becomes of an answer without [SEG]."""

import pytest
import torch

from projects.mask_caption_sft.evaluation.mask_cycle_metric import MaskCycleMetric
from projects.mask_caption_sft.evaluation.ref_seg_metric import RefSegMetric
from projects.mask_caption_sft.loop.predict import predict_regions, upsample_mask
from projects.mask_caption_sft.loop.signals import caption_controls
from projects.mask_caption_sft.ops.mask import mask_iou, resize_masks
from tests.miniature import miniature_batch, miniature_model, miniature_sa2va
from tests.tiny_base import as_batch, cannot_write_seg, says_instead, tiny_base, write_images


@pytest.fixture(scope='module')
def batch(tmp_path_factory):
    """One image with a human text for each region, one without."""
    spoken, silent = write_images(tmp_path_factory.mktemp('refcoco'), num_images=2)
    silent.expressions = [None] * len(silent.expressions)
    return as_batch([spoken, silent])


@pytest.fixture(scope='module')
def without_seg(batch):
    return predict_regions(cannot_write_seg(tiny_base()), batch, max_caption_len=10)


def scores(predictions):
    found = {}
    for metric in (RefSegMetric(), MaskCycleMetric()):
        metric.process({}, predictions)
        found |= metric.evaluate(size=len({p.sample_id for p in predictions}))
    return found


def test_a_model_that_writes_no_seg_finds_nothing(batch, without_seg):
    found = scores(without_seg)
    assert found['ref_seg/cIoU'] == 0
    assert found['ref_seg/invalid'] == found['ref_seg/counted'] > 0
    assert found['mask_cycle/invalid'] == found['mask_cycle/counted'] == len(batch)
    for name in ('second_view', 'same_view', 'shuffled', 'blank'):
        assert found[f'mask_cycle/{name}_iou'] == 0


def test_its_masks_are_empty_and_of_the_size_of_the_truth(without_seg):
    for prediction in without_seg:
        assert prediction.without_seg == prediction.masks.keys()
        for mask in prediction.masks.values():
            assert mask.shape == prediction.mask2.shape
            assert mask.dtype == torch.bool
            assert not mask.any()


def test_given_the_answer_it_goes_unseen_and_the_metrics_have_another_name(batch):
    found = scores(predict_regions(cannot_write_seg(tiny_base()), batch, max_caption_len=10, answers='given'))
    assert {name.split('/')[0] for name in found} == {'ref_seg_given', 'mask_cycle_given'}
    assert found['ref_seg_given/invalid'] == 0
    assert found['ref_seg_given/cIoU'] > 0.1


def test_a_model_that_answers_as_given_scores_the_same_either_way(batch):
    written = scores(predict_regions(tiny_base(), batch, max_caption_len=10))
    given = scores(predict_regions(tiny_base(), batch, max_caption_len=10, answers='given'))
    assert written == {name.replace('_given', ''): value for name, value in given.items()}
    assert written['ref_seg/cIoU'] > 0.1


def test_a_model_that_says_other_words_before_seg_scores_the_same(batch):
    expected = scores(predict_regions(tiny_base(), batch, max_caption_len=10))
    model = says_instead(tiny_base(), Sure='A', **{',': '!'})
    found = scores(predict_regions(model, batch, max_caption_len=10))
    assert found['ref_seg/invalid'] == found['mask_cycle/invalid'] == 0
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_setting_reaches_the_predictions():
    for answers in ('written', 'given'):
        model = miniature_model(predict_answers=answers).eval()
        assert {p.answers for p in model(miniature_batch(), mode='predict')} == {answers}
    with pytest.raises(ValueError, match="predict_answers='asked' is not one of 'written', 'given'"):
        miniature_model(predict_answers='asked')


CAPTIONS = ['the red circle', 'star', 'a large square']
#: Regions 0 and 1 share an image, so they exchange captions; 2 is alone and takes that of the one before.
SHUFFLED = ['star', 'the red circle', 'star']


def found_from(student, batch, texts):
    return student.segment(student.look(batch)[1], student.embed_captions(texts)).mask_logits


def test_the_shuffled_caption_in_validation_is_of_the_same_image_first():
    student, batch = miniature_sa2va().eval(), miniature_batch([None, None], [None])
    written = student.text.encode_answers(CAPTIONS)
    student.describe = lambda *args, **kwargs: written
    predictions = predict_regions(student, batch, max_caption_len=5, answers='given')
    for logits, prediction in zip(found_from(student, batch, SHUFFLED), predictions):
        expected = upsample_mask(logits, 128, prediction.mask2.shape)
        assert torch.equal(prediction.masks['caption_shuffled'], expected)


def test_the_shuffled_caption_in_the_log_is_of_the_same_image_first():
    student, batch = miniature_sa2va().eval(), miniature_batch([None, None], [None])
    found = caption_controls(student, *student.look(batch), student.text.encode_answers(CAPTIONS))
    with torch.no_grad():
        expected = mask_iou(found_from(student, batch, SHUFFLED) > 0, resize_masks(batch.masks2, (32, 32)))
    torch.testing.assert_close(found['shuffled_iou'], expected)
