"""COCO folders, mask folders and videos damaged in every way: each file is named, and the rest is read."""

import json
import shutil

import pytest
from PIL import Image

from projects.mask_caption_sft.datasets import COCOInstances, MaskFolder, MaskVideo, RegionMix
from projects.mask_caption_sft.structures import BrokenRecord, RegionSample
from tests.damage import PIPELINE, truncate, zero_bytes
from tests.own_data import HEIGHT, WIDTH, write_coco, write_mask_folder, write_videos


def other_size(path):
    with Image.open(path) as image:
        changed = image.resize((WIDTH // 2, HEIGHT), Image.Resampling.NEAREST)
    changed.save(path)


def remove(path):
    path.unlink()


def of_annotation(**changes):
    def damage(path):
        content = json.loads(path.read_text())
        content['annotations'][0].update(changes)
        path.write_text(json.dumps(content))

    return damage


FILES = [truncate, zero_bytes, other_size]
ANNOTATIONS = [
    of_annotation(segmentation={'size': [7, 9], 'counts': [63]}), of_annotation(segmentation={'counts': 'x'}),
    of_annotation(segmentation=[[1, 2, 3, 4, 5, float('nan')]]), of_annotation(segmentation=None),
    of_annotation(segmentation=7), of_annotation(image_id=999),
]  # fmt: skip


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp('own')
    write_coco(root / 'coco', 3)
    write_mask_folder(root / 'masks', 3)
    write_videos(root / 'video', 1, 4)
    return root


CASES = [
    *[(COCOInstances, 'coco', {'ann_file': 'instances.json'}, 'images/*.jpg', d) for d in (*FILES, remove)],
    *[(COCOInstances, 'coco', {'ann_file': 'instances.json'}, '*.json', d) for d in ANNOTATIONS],
    *[
        (MaskFolder, 'masks', dict(image_dir='images', mask_dir='masks'), 'images/*.jpg', d)
        for d in (*FILES, remove)
    ],
    *[(MaskFolder, 'masks', dict(image_dir='images', mask_dir='masks'), 'masks/*.png', d) for d in FILES],
    *[(MaskVideo, 'video', dict(frame_distance=(1, 3)), 'JPEG*/**/*.jpg', d) for d in FILES],
    *[(MaskVideo, 'video', dict(frame_distance=(1, 3)), 'Anno*/**/*.png', d) for d in FILES],
]


@pytest.mark.parametrize(('kind', 'name', 'options', 'pattern', 'damage'), CASES)
def test_damage_is_named_and_the_rest_is_read(folders, tmp_path, kind, name, options, pattern, damage):
    root = shutil.copytree(folders / name, tmp_path / name)
    damaged = sorted(root.glob(pattern))[0]
    damage(damaged)
    dataset = kind(str(root), pipeline=PIPELINE, **options)
    samples = [dataset[i] for i in range(len(dataset))]
    broken = [sample for sample in samples if isinstance(sample, BrokenRecord)]
    stem = damaged.stem if damaged.suffix != '.json' else 'annotation 0'
    # Of an image that is gone, or has another size, each mask is named.
    of_masks = kind is MaskFolder and pattern.startswith('images') and damage in (other_size, remove)
    assert len(broken) == (3 if of_masks else 1)
    assert all(stem in sample.sample_id + sample.reason for sample in broken)
    assert sum(isinstance(sample, RegionSample) for sample in samples) == len(samples) - len(broken) >= 2


def test_one_damaged_file_in_a_hundred_does_not_end_a_run(tmp_path):
    """Each draw is a sample or a named broken record, and the share of broken ones is that of the files."""
    write_videos(tmp_path, 1, 100)
    truncate(tmp_path / 'JPEGImages' / '480p' / 'video0' / '00050.jpg')
    mix = RegionMix({'video': dict(type=MaskVideo, data_root=str(tmp_path), pipeline=PIPELINE)})
    samples = [mix[draw] for draw in range(len(mix))]
    broken = [sample.sample_id for sample in samples if isinstance(sample, BrokenRecord)]
    assert broken == [str(tmp_path / 'JPEGImages' / '480p' / 'video0' / '00050.jpg')]
    assert len(samples) == 100
