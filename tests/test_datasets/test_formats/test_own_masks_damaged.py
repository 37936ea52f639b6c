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


WRITERS = {
    COCOInstances: ('coco', lambda root: write_coco(root, 100)),
    MaskFolder: ('masks', lambda root: write_mask_folder(root, 100)),
    MaskVideo: ('video', lambda root: write_videos(root, 1, 100)),
}


@pytest.mark.slow
@pytest.mark.parametrize('kind', list(WRITERS))
def test_one_damaged_file_in_a_hundred_of_each_kind_does_not_end_a_run(tmp_path, kind):
    """Every way at once: each draw is a sample or a named broken record, and every damaged file is named."""
    name, write = WRITERS[kind]
    write(tmp_path)
    ways = [(pattern, damage) for of, which, _, pattern, damage in CASES if (of, which) == (kind, name)]
    options = next(options for of, _, options, *_ in CASES if of is kind)
    damaged = []
    for number, (pattern, damage) in enumerate(way for way in ways if way[1] not in ANNOTATIONS):
        images = {stem.partition('_')[0] for stem in damaged}
        path = [p for p in sorted(tmp_path.glob(pattern)) if p.stem.partition('_')[0] not in images][
            10 * number
        ]
        damage(path)
        damaged.append(path.stem)
    for number, change in enumerate(ANNOTATIONS if kind is COCOInstances else ()):
        damage_annotation(tmp_path / 'instances.json', 3 * number, change)
        damaged.append(f'annotation {3 * number}')
    mix = RegionMix({'own': dict(type=kind, data_root=str(tmp_path), pipeline=PIPELINE, **options)})
    samples = [mix[draw] for draw in range(len(mix))]
    broken = [sample.sample_id + sample.reason for sample in samples if isinstance(sample, BrokenRecord)]
    assert all(sum(stem in text for text in broken) >= 1 for stem in damaged), (damaged, broken)
    assert all(any(stem in text for stem in damaged) for text in broken)
    assert sum(isinstance(sample, RegionSample) for sample in samples) >= 100 - len(damaged)


def damage_annotation(path, number, change):
    """What ``change`` does to the first annotation, done to another."""
    content = json.loads(path.read_text())
    first, content['annotations'][0] = content['annotations'][0], content['annotations'][number]
    path.write_text(json.dumps(content))
    change(path)
    content = json.loads(path.read_text())
    content['annotations'][number] = content['annotations'][0]
    if number:
        content['annotations'][0] = first
    path.write_text(json.dumps(content))
