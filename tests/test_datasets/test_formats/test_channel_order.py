"""Color channels in the wrong order are noticed by skin, which is red and never blue."""

import numpy as np

from projects.mask_caption_sft.datasets import SAVPairs
from projects.mask_caption_sft.datasets.formats.channel_order import mostly_swapped, skin_share, swap_evidence


def patch(*rgb: int) -> np.ndarray:
    return np.full((8, 8, 3), rgb, np.uint8)


def test_skin_by_hand():
    assert skin_share(patch(200, 140, 110)) == 1.0
    assert skin_share(patch(110, 140, 200)) == 0.0
    assert skin_share(patch(120, 120, 120)) == 0.0
    half = np.concatenate([patch(200, 140, 110), patch(0, 0, 0)])
    assert skin_share(half) == 0.5


def test_evidence_has_the_sign_of_the_mistake_and_none_without_skin():
    assert swap_evidence(patch(200, 140, 110)) == -1.0
    assert swap_evidence(patch(110, 140, 200)) == 1.0
    assert swap_evidence(patch(120, 120, 120)) is None


def test_one_image_is_not_enough():
    assert not mostly_swapped([1.0, 1.0])
    assert mostly_swapped([1.0, 1.0, -1.0])
    assert not mostly_swapped([1.0, 1.0, -1.0, -1.0])


def test_the_real_pairs_raise_no_false_alarm_and_are_caught_when_read_wrongly(shared_dir):
    for order, expected in (('bgr', False), ('rgb', True)):
        dataset = SAVPairs(data_root=str(shared_dir / 'data' / 'sav_pairs'), channel_order=order)
        samples = [dataset.read_record(dataset.get_data_info(i)) for i in range(len(dataset))]
        evidence = [swap_evidence(s.view1.image) for s in samples] + [
            swap_evidence(s.view2.image) for s in samples
        ]
        assert mostly_swapped([value for value in evidence if value is not None]) is expected
