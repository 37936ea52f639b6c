"""A share is held out by group, and stays where it is."""

import numpy as np
import pytest

from projects.mask_caption_sft.datasets import COCOInstances, MaskVideo
from projects.mask_caption_sft.datasets.index.held_out import held_out
from tests.own_data import write_coco, write_videos

NAMES = [f'image {i}' for i in range(2000)]


def test_a_share_of_the_groups_is_held_out_and_more_data_moves_none():
    before, after = held_out(NAMES[:1000], 0.1), held_out(NAMES, 0.1)
    assert 0.07 < before.mean() < 0.13
    assert np.array_equal(after[:1000], before)


def test_a_group_is_on_one_side():
    chosen = held_out([name[:-1] for name in NAMES], 0.5)
    assert {len(set(chosen[i : i + 10])) for i in range(0, 2000, 10)} == {1}


@pytest.mark.parametrize('share', [0.001, 0.999])
def test_of_two_groups_one_is_held_out(share):
    assert sorted(held_out(['a', 'b'], share).tolist()) == [False, True]


def test_the_parts_of_a_dataset_share_no_image_and_no_video(tmp_path):
    write_coco(tmp_path / 'coco', 12)
    parts = {
        part: COCOInstances(str(tmp_path / 'coco'), ann_file='instances.json', part=part, val_share=0.3)
        for part in ('all', 'train', 'val')
    }
    ids = {part: {d.get_data_info(i)['sample_id'] for i in range(len(d))} for part, d in parts.items()}
    assert ids['train'] | ids['val'] == ids['all']
    assert not ids['train'] & ids['val']
    assert len(ids['val']) < 6
    write_videos(tmp_path / 'video', 3, 3)
    videos = [
        {d.get_data_info(i)['image'].split('/')[2] for i in range(len(d))}
        for d in (MaskVideo(str(tmp_path / 'video'), frame_distance=(1, 9), part=p) for p in ('train', 'val'))
    ]
    assert not videos[0] & videos[1]
    assert videos[0] | videos[1] == {'video0', 'video1', 'video2'}


def test_one_video_cannot_be_divided(tmp_path):
    write_videos(tmp_path, 1, 3)
    with pytest.raises(ValueError, match=r"'video0'; a part of it cannot be held out"):
        MaskVideo(str(tmp_path), frame_distance=(1, 9), part='val')
    with pytest.raises(
        ValueError, match=r"part='test', val_share=0\.05: needed are one of 'all', 'train', 'val'"
    ):
        MaskVideo(str(tmp_path), part='test')
