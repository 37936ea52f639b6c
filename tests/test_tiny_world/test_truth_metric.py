"""Truth of captions, by hand."""

import pytest
import torch

from projects.mask_caption_sft.structures import RegionPrediction
from projects.mask_caption_sft.tiny_world.scene import Scene, Thing
from projects.mask_caption_sft.tiny_world.scenes_file import write_scenes
from projects.mask_caption_sft.tiny_world.truth_metric import TruthMetric, nearest

#: A small red star at the top left, a small red circle at the bottom right, a large yellow star at the right.
THINGS = [
    Thing('red', 'star', 0.25, 0.25, 0.1),
    Thing('red', 'circle', 0.75, 0.75, 0.1),
    Thing('yellow', 'star', 0.75, 0.5, 0.2),
]


def square(thing: Thing) -> torch.Tensor:
    """Around the centre of a thing, in an image of 8 x 8."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    x, y = round(thing.x * 8), round(thing.y * 8)
    mask[y - 1 : y + 1, x - 1 : x + 1] = True
    return mask


def predicted(caption: str | None, index: int = 0, found: bool = True, **kwargs) -> RegionPrediction:
    mask = square(THINGS[index])
    masks = {} if caption is None else {'caption': mask if found else ~mask}
    values = dict(
        dataset='sa1b_val', sample_id='x', image_ids=('data/sa_000000.jpg', 'data/sa_000000.jpg#view2-7'),
        expression=None, caption=caption, mask1=mask, mask2=mask, masks=masks,
    )  # fmt: skip
    return RegionPrediction(**values | kwargs)


@pytest.fixture
def metric(tmp_path) -> TruthMetric:
    write_scenes(tmp_path / 'sa1b', {'sa_000000': Scene(THINGS, (0, 0, 0), 'plain', 0)})
    return TruthMetric({'sa1b_val': str(tmp_path / 'sa1b_scenes.json')})


def scores(metric: TruthMetric, *predictions: RegionPrediction) -> dict[str, float]:
    metric.process({}, predictions)
    return metric.evaluate(len({p.sample_id for p in predictions}))


@pytest.mark.parametrize(
    ('caption', 'true', 'unambiguous'),
    [
        ('the red star', 1, 1),
        ('the red thing', 1, 0),  # the circle is red, too
        ('the star', 1, 0),
        ('the star at the left', 1, 1),
        ('the star at the top left', 1, 1),
        ('the star at the right', 0, 0),
        ('the small red star', 1, 1),
        ('the large red star', 0, 0),  # one false word is enough
        ('the thing', 0, 0),  # says nothing
        ('', 0, 0),
        ('the red star zebra', 0, 0),  # nobody knows what this means
        (None, 0, 0),
    ],
)
def test_true_and_unambiguous(metric, caption, true, unambiguous):
    found = scores(metric, predicted(caption))
    assert (found['truth/true'], found['truth/unambiguous']) == (true, unambiguous)


def test_a_code_is_false_and_found(metric):
    assert scores(metric, predicted('the blue circle'))['truth/code'] == 1
    assert scores(metric, predicted('the blue circle', found=False))['truth/code'] == 0
    assert scores(metric, predicted('the red star'))['truth/code'] == 0
    assert scores(metric, predicted(None))['truth/code'] == 0


def test_attributes_and_recall(metric):
    found = scores(
        metric,
        predicted('the large red star', 0),
        predicted('the circle', 1),
        predicted('the yellow star at the right', 2),
    )
    assert found['truth/attributes'] == pytest.approx((3 + 1 + 3) / 3)
    assert found['truth/true_attributes'] == pytest.approx((2 + 1 + 3) / 3)
    assert found['truth/recall_red'] == 1 / 2
    assert found['truth/recall_star'] == 1
    assert found['truth/recall_yellow'] == 1
    assert found['truth/recall_small'] == 0
    assert found['truth/recall_large'] == 0
    assert 'truth/recall_blue' not in found  # nothing is
    assert found['truth/recall_unsaid'] == 1  # yellow
    assert found['truth/recall_unheard'] == 1  # star
    # circle 1, red 1/2, right 1/2; small, large, top, left and bottom 0
    assert found['truth/recall_taught'] == pytest.approx((1 + 1 / 2 + 1 / 2) / 8)
    assert found['truth/counted'] == 3


def test_things_are_told_by_their_centres():
    assert [nearest(THINGS, square(thing)) for thing in THINGS] == [0, 1, 2]


def test_other_datasets_are_left_out_and_an_unknown_image_is_an_error(metric):
    assert scores(metric, predicted('the red star', dataset='sav_val')) == {'truth/counted': 0}
    with pytest.raises(ValueError, match='do not hold'):
        metric.process({}, [predicted('the red star', image_ids=('sa_000009.jpg', 'x'))])


def test_without_scenes_nothing_starts(tmp_path):
    with pytest.raises(FileNotFoundError, match='make_tiny_world'):
        TruthMetric({'sa1b_val': str(tmp_path / 'sa1b_scenes.json')})
