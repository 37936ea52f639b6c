"""Validation gives the scores that upstream's own evaluation script gave; see PARITY.md."""

import json

import pytest

from projects.mask_caption_sft.datasets import RefCOCO, collate_regions
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions
from projects.mask_caption_sft.evaluation.ref_seg_metric import RefSegMetric
from projects.mask_caption_sft.loop.data_preprocessor import RegionDataPreprocessor
from projects.mask_caption_sft.loop.predict import predict_regions
from projects.mask_caption_sft.ops.mask import decode_segmentation
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.tiny_base import cannot_write_seg

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def model(shared_dir):
    return Sa2VA(shared_dir / 'parity' / 'tiny_sa2va', round_grounding_stats=True).eval()


SIZES = dict(image_size=448, grid_size=16, grounding_size=1024)


def predictions(shared_dir, model, split):
    """As ``configs/_base_/datasets/mask_caption_val.py`` declares them."""
    data = shared_dir / 'parity' / 'mini_refcoco' / 'data'
    images = data / 'glamm_data' / 'images' / 'coco2014' / 'train2014'
    dataset = RefCOCO(
        data_root=str(data / 'ref_seg' / 'refcoco'), split=split, image_dir=str(images),
        every_expression=True, seed=0, pipeline=[ChooseRegions(None), PackRegions(12, True, **SIZES)],
    )  # fmt: skip
    preprocess = RegionDataPreprocessor()
    for i in range(len(dataset)):
        batch = preprocess(collate_regions([dataset[i]]))['batch']
        yield from predict_regions(model, batch, max_caption_len=1)


@pytest.mark.parametrize(('split', 'ciou'), [('val', 0.42509), ('testA', 0.46213), ('testB', 0.07966)])
def test_ciou_is_upstreams(shared_dir, model, split, ciou):
    metric = RefSegMetric()
    found = list(predictions(shared_dir, model, split))
    metric.process({}, found)
    assert metric.evaluate(len(found))['ref_seg/cIoU'] == pytest.approx(ciou, abs=1e-5)


def test_without_seg_in_its_output_a_model_finds_nothing_as_upstream_reports(shared_dir):
    """Upstream prints "No seg pred" for every expression; given the answer, cIoU would be 0.07966."""
    model = cannot_write_seg(Sa2VA(shared_dir / 'parity' / 'tiny_sa2va', round_grounding_stats=True).eval())
    metric, found = RefSegMetric(), list(predictions(shared_dir, model, 'testB'))
    metric.process({}, found)
    scores = metric.evaluate(len(found))
    assert scores['ref_seg/cIoU'] == 0
    assert scores['ref_seg/invalid'] == scores['ref_seg/counted'] == len(found) > 0


def test_every_mask_is_upstreams(shared_dir, model):
    recorded = json.loads((shared_dir / 'parity' / 'refcoco_val_predictions.json').read_text())
    found = list(predictions(shared_dir, model, 'val'))
    assert len(found) == len(recorded['calls'])
    by_text = {}
    for call in recorded['calls']:
        height, width = call['masks'][0][0]['size']
        by_text[call['text'], height, width] = decode_segmentation(call['masks'][0][0], height, width)
    for prediction in found:
        mask = prediction.masks['expression']
        words = f'<image>\n Please segment {prediction.expression} in this image.'
        expected = by_text[words, *mask.shape]
        # A logit within rounding of the threshold may fall on either side.
        assert (mask.numpy() != expected).sum() <= 2, prediction.expression
