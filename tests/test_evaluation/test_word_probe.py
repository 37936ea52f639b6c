"""IoU lost by kind of word: a listener whose hearing is known, and a model."""

import numpy as np
import pytest
import torch

from projects.mask_caption_sft.evaluation.word_probe import probe
from projects.mask_caption_sft.evaluation.word_probe.probe import ImageProbe, probe_batch, probe_image
from projects.mask_caption_sft.evaluation.word_probe.report import ALL, summarize, words_table
from projects.mask_caption_sft.evaluation.word_probe.word_list import WordList, read_word_list
from projects.mask_caption_sft.loop.predict import predict_regions
from projects.mask_caption_sft.ops.mask import mask_iou
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE, TRAINED_QWEN3_VL
from tests.miniature import passes_of
from tests.tiny_base import as_batch, tiny_base, write_images

WORDS = WordList(
    'test', {'colour': ['red', 'blue'], 'shape': ['circle', 'square'], 'size': ['large', 'small']}
)
#: Six pixels: a red circle in the first two, a blue one in the next, a red square in the last.
REGIONS = [['the red circle'], ['the blue circle'], ['the red square']]
MASKS = torch.tensor([[[1, 1, 0, 0, 0, 0]], [[0, 0, 1, 1, 0, 0]], [[0, 0, 0, 0, 1, 1]]]).bool()


def hears(*heard: str):
    """A segmenter that hears some words only: it marks everything of which those in the text are true."""

    def listen(texts):
        for text in texts:
            needed = set(text.split()) & set(heard)
            fitting = [needed <= set(names[0].split()) for names in REGIONS]
            yield MASKS[fitting].any(0)

    return listen


def rows_of(listener, seed: int = 0):
    found = probe_image(MASKS, REGIONS, WORDS, listener, np.random.default_rng(seed))
    return found, summarize(found, WORDS)


def test_to_a_listener_that_hears_colour_only_the_wrong_shape_costs_nothing():
    r"""By hand, with the IoU of each text's mask with the region it came from:

    | expression | true | colour replaced | rival before, after | shape replaced | rival before, after |
    |---|---|---|---|---|---|
    | the red circle | 2/4 | blue circle: 0 | 2nd: 0, 1 | red square: 2/4 | 3rd: 2/4, 2/4 |
    | the blue circle | 1 | red circle: 0 | 1st: 0, 2/4 | blue square, fits none: 1 | |
    | the red square | 2/4 | blue square, fits none: 0 | | red circle: 2/4 | 1st: 2/4, 2/4 |

    Without a colour, and without any word, all six pixels are marked: 2/6.
    """
    found, rows = rows_of(hears('red', 'blue'))
    assert found.expression_ious == [0.5, 1.0, 0.5]
    assert rows['colour'] == pytest.approx(
        dict(
            num_words=3, iou_true=2 / 3, iou_replaced=0, lost=2 / 3,
            num_deciding=2, lost_deciding=(0.5 + 1) / 2, rival_before=0, rival_after=(1 + 0.5) / 2,
            iou_dropped=1 / 3, lost_dropped=1 / 3, iou_blank=1 / 3,
        )
    )  # fmt: skip
    assert rows['shape'] == pytest.approx(
        dict(
            num_words=3, iou_true=2 / 3, iou_replaced=2 / 3, lost=0,
            num_deciding=2, lost_deciding=0, rival_before=0.5, rival_after=0.5,
            iou_dropped=2 / 3, lost_dropped=0, iou_blank=1 / 3,
        )
    )  # fmt: skip
    assert rows[ALL]['num_words'] == 6
    assert rows[ALL]['lost'] == pytest.approx((2 / 3 + 0) / 2)
    assert rows[ALL]['lost_deciding'] == pytest.approx((0.5 + 1 + 0 + 0) / 4)


def test_to_a_listener_that_hears_every_word_the_mask_moves_to_the_other_region():
    _, rows = rows_of(hears('red', 'blue', 'circle', 'square'))
    for kind in ('colour', 'shape'):
        assert (rows[kind]['iou_true'], rows[kind]['lost_deciding']) == (1, 1)
        assert (rows[kind]['rival_before'], rows[kind]['rival_after']) == (0, 1)


def test_of_several_rivals_the_one_that_the_mask_moves_to_counts():
    regions = [['a star'], ['a cube'], ['a cube', 'the cube']]
    words = WordList('test', {'shape': ['star', 'cube']})

    def listen(texts):
        return [MASKS[1 if 'cube' in text else 0] for text in texts]

    star = probe_image(MASKS, regions, words, listen, np.random.default_rng(0)).words[0]
    assert star.case.rivals == (1, 2)
    assert (star.rival_before, star.rival_after) == (0, 1)


def test_the_listener_is_asked_once_for_each_different_text():
    asked = []

    def listen(texts):
        asked.append(texts)
        return [MASKS[0]] * len(texts)

    rows_of(listen)
    (texts,) = asked
    written = ['the red circle', 'the blue circle', 'the red square']
    wrong, dropped = ['the blue square'], ['the circle', 'the square', 'the red', 'the blue']
    assert sorted(texts) == sorted(['', *written, *wrong, *dropped])


def test_a_kind_that_no_expression_uses_is_listed_without_means():
    _, rows = rows_of(hears('red', 'blue'))
    assert rows['size'] == dict.fromkeys(rows['size']) | dict(num_words=0, num_deciding=0)
    assert '| size | 0 | - | - | - | 0 | - | - | - | - | - | - |' in words_table(rows).splitlines()


def test_no_image_at_all_has_a_table_too():
    table = words_table(summarize(ImageProbe(), WORDS))
    assert 'nan' not in table
    assert table.splitlines()[-1] == f'| {ALL} | 0 | - | - | - | 0 | - | - | - | - | - | - |'


def test_images_are_put_together_and_words_without_a_wrong_one_counted():
    both = ImageProbe()
    listen = hears('red', 'blue')
    for regions in (REGIONS, [['the red circle', 'the blue circle'], ['a square'], ['nothing']]):
        both.add(probe_image(MASKS, regions, WORDS, listen, np.random.default_rng(0)))
    assert len(both.expression_ious) == 3 + 4
    assert both.num_unreplaced == 2  # of one region both colours are true
    assert len(both.words) == 6 + 3


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('refcoco'), num_images=1)[0]


@pytest.fixture(scope='module')
def model():
    return tiny_base()


def test_a_model_finds_the_masks_that_validation_finds(model, sample):
    batch = as_batch([sample])
    found = probe_batch(model, batch, read_word_list('tiny'), np.random.default_rng(0))
    expected = [
        mask_iou(prediction.masks['expression'][None], prediction.mask2[None]).item()
        for prediction in predict_regions(model, batch, max_caption_len=2, answers='given')
    ]
    assert found.expression_ious == pytest.approx(expected, abs=1e-4)
    assert max(expected) > 0.5
    blank = predict_regions(model, blank_batch(sample), max_caption_len=2, answers='given')[0]
    first = found.words[0]
    assert first.case.region == 0
    assert first.iou_blank == pytest.approx(
        mask_iou(blank.masks['caption_blank'][None], blank.mask2[None]).item(), abs=1e-4
    )


@pytest.mark.parametrize('base', [TRAINED_BASE, TRAINED_QWEN3_VL], ids=['internvl', 'qwen3_vl'])
def test_a_shipped_base_hears_every_kind_of_word_where_it_decides(base, tmp_path):
    words, rng, found, model = read_word_list('tiny'), np.random.default_rng(0), ImageProbe(), tiny_base(base)
    for image in write_images(tmp_path, 10, base):
        found.add(probe_batch(model, as_batch([image]), words, rng))
    rows = summarize(found, words)
    assert all(rows[kind]['num_deciding'] >= 5 for kind in words.kinds), rows
    assert all(rows[kind]['lost_deciding'] >= 0.3 for kind in words.kinds), rows


def blank_batch(sample):
    """The same regions without their expressions: validation then asks with an empty caption."""
    batch = as_batch([sample])
    batch.expressions = [None] * len(batch)
    return batch


def test_every_word_of_an_image_is_asked_behind_one_reading_of_it(model, sample, monkeypatch):
    batch = as_batch([sample])
    encoded = []
    for name in ('encode_tiles', 'encode_grounding'):
        method = getattr(model, name)
        monkeypatch.setattr(
            model, name, lambda pixels, *rest, m=method: encoded.append(len(pixels)) or m(pixels, *rest)
        )
    monkeypatch.setattr(probe, 'REGIONS_AT_ONCE', 4)
    asked, segment = [], model.segment

    def counted(views, *args):
        asked.append(len(views))
        return segment(views, *args)

    monkeypatch.setattr(model, 'segment', counted)
    passes = passes_of(model)
    probe_batch(model, batch, read_word_list('tiny'), np.random.default_rng(0))
    assert encoded == [1, 1]
    assert max(asked) == 4
    assert len(passes) == 1 + len(asked)  # the image, then its texts


def test_expressions_that_name_nothing_and_regions_without_one_are_left_out(model, sample):
    batch = as_batch([sample])
    batch.masks2 = [torch.zeros_like(mask) for mask in batch.masks2]
    assert probe_batch(model, batch, read_word_list('tiny'), np.random.default_rng(0)) == ImageProbe()
    assert probe_batch(model, blank_batch(sample), WORDS, np.random.default_rng(0)) == ImageProbe()
