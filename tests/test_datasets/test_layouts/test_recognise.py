"""A folder is recognised by its files, or the message says what was found and what is missing."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from projects.mask_caption_sft.datasets.layouts.recognise import KINDS, recognise
from tests.own_data import (
    HEIGHT,
    WIDTH,
    write_coco,
    write_image,
    write_indexed,
    write_mask,
    write_mask_folder,
    write_videos,
)

PIXELS = np.full((HEIGHT, WIDTH, 3), 80, np.uint8)
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[10:40, 20:60] = True


def records(finding, root, **options):
    return len(KINDS[finding.layout](data_root=root, **{**finding.arguments, **options}))


def layout_of(path):
    return recognise(path)[1].layout


@pytest.mark.parametrize('name', ['sav', 'sa1b', 'openimages', 'refcoco'])
def test_the_released_formats_are_recognised_and_read(written, name):
    root, finding = recognise(written / name)
    assert finding.layout == name
    assert records(finding, root) >= 2


def test_videos_are_recognised_and_the_frame_distance_fits_short_ones(tmp_path):
    write_videos(tmp_path / 'short', 2, 4)
    root, finding = recognise(tmp_path / 'short')
    assert (finding.layout, finding.arguments['frame_distance']) == ('mask_video', (1, 3))
    assert finding.found[0] == '2 videos'
    assert records(finding, root) == 8
    write_videos(tmp_path / 'long' / 'train', 1, 13)
    root, finding = recognise(tmp_path / 'long')
    assert finding.arguments['frame_distance'] == (5, 60)
    assert finding.arguments['image_dir'] == 'train/JPEGImages'


@pytest.mark.parametrize('twin', [True, False])
def test_mask_folders_are_recognised(tmp_path, twin):
    write_mask_folder(tmp_path, 3, twin=twin)
    write_image(tmp_path / ('images' if twin else '') / 'bare.jpg', PIXELS)
    root, finding = recognise(tmp_path)
    assert finding.layout == 'mask_folder'
    assert finding.found[1] == '1 image without a mask, left out'
    assert records(finding, root) == 3


def test_grey_masks_are_ids_or_soft_edges_by_their_values(tmp_path):
    soft = Image.fromarray(MASK.astype(np.uint8) * 255).resize(
        (WIDTH * 2, HEIGHT * 2), Image.Resampling.BICUBIC
    )
    dim = soft.filter(ImageFilter.GaussianBlur(4)).point(lambda value: int(0.8 * value))  # never white
    labels = MASK * np.uint8(3)
    labels[50:60, 5:15] = 7
    for name, mask in (('soft', soft), ('dim', dim), ('ids', Image.fromarray(labels))):
        write_image(tmp_path / name / 'a.jpg', np.asarray(mask.convert('RGB')))
        mask.save(tmp_path / name / 'a.png')
    for name, values, count in (('soft', 'one', 1), ('dim', 'one', 1), ('ids', 'ids', 2)):
        root, finding = recognise(tmp_path / name)
        assert finding.arguments['mask_values'] == values
        assert f"read as mask_values='{values}'" in finding.found[-1]
        dataset = KINDS['mask_folder'](data_root=root, **finding.arguments)
        assert len(dataset.read_record(dataset.get_data_info(0)).expressions) == count


def test_a_coco_file_is_recognised_in_its_folder_and_by_itself(tmp_path):
    write_coco(tmp_path, 3, name='annotations/own.json')
    (tmp_path / 'annotations' / 'notes.json').write_text('{"images": 3}')
    root, finding = recognise(tmp_path)
    assert (finding.layout, finding.arguments) == ('coco', {'ann_file': 'annotations/own.json'})
    assert records(finding, root) == 3
    assert recognise(tmp_path / 'annotations' / 'own.json') == (root, finding)


def test_of_several_coco_files_train_and_val_are_used_and_others_have_to_be_chosen(tmp_path):
    for part in ('train', 'val'):
        write_coco(tmp_path, 3, name=f'annotations/instances_{part}2017.json')
    _, finding = recognise(tmp_path)
    assert finding.arguments == {'ann_file': 'annotations/instances_train2017.json'}
    assert finding.val_arguments == {'ann_file': 'annotations/instances_val2017.json'}
    write_coco(tmp_path, 3, name='annotations/third.json')
    with pytest.raises(ValueError, match=r'there are 3\. Give one of them, --data FOLDER/annotations/'):
        recognise(tmp_path)
    assert recognise(tmp_path / 'annotations' / 'third.json')[1].arguments == {
        'ann_file': 'annotations/third.json'
    }


@pytest.mark.parametrize('inner', [True, False])
def test_a_folder_with_its_own_validation_keeps_it(tmp_path, inner):
    for part in ('train', 'val'):
        folder = '{0}/' + part if inner else part + '/{0}'
        write_image(tmp_path / folder.format('images') / f'{part}.jpg', PIXELS)
        write_mask(tmp_path / folder.format('masks') / f'{part}.png', MASK)
    root, finding = recognise(tmp_path)
    for part, arguments in (('train', finding.arguments), ('val', finding.val_arguments)):
        dataset = KINDS['mask_folder'](data_root=root, **arguments)
        assert [
            dataset.short_id(dataset.get_data_info(i)['sample_id']).split('/')[-1]
            for i in range(len(dataset))
        ] == [f'{part}.jpg']


def test_numbered_images_in_folders_could_be_videos_and_have_to_be_told(tmp_path):
    for number in range(4):
        write_image(tmp_path / 'images' / 'cats' / f'{number:04d}.jpg', PIXELS)
        write_indexed(tmp_path / 'masks' / 'cats' / f'{number:04d}.png', MASK[None])
    with pytest.raises(ValueError, match=r'More than one layout fits; choose one with --layout\.') as error:
        recognise(tmp_path)
    lines = str(error.value).splitlines()
    shown = [line.split()[1].rstrip(':') for line in lines if line.startswith('  --layout')]
    assert shown == ['mask_folder', 'mask_video', 'coco']  # those that fit, and the nearest that does not
    assert sum('missing: ' in line for line in lines) == 1
    assert recognise(tmp_path, 'mask_video')[1].layout == 'mask_video'


def test_an_unknown_folder_is_described_with_the_three_nearest_layouts(tmp_path):
    for number in range(3):
        write_image(tmp_path / 'pics' / f'{number}.jpg', PIXELS)
    (tmp_path / 'boxes.json').write_text(json.dumps({'images': [], 'annotations': [{'bbox': [0, 0, 1, 1]}]}))
    with pytest.raises(ValueError, match=r'holds 3 \*\.jpg, 1 \*\.json in pics\. No layout fits') as error:
        recognise(tmp_path)
    lines = str(error.value).splitlines()
    assert [line.split()[1].rstrip(':') for line in lines if '--layout' in line] == [
        'coco',
        'mask_folder',
        'mask_video',
    ]
    assert 'missing: "segmentation" in boxes.json, which holds boxes only' in lines[3]
    assert 'docs/datasets.md' in lines[-1]
    with pytest.raises(FileNotFoundError, match=r'nothing does not exist'):
        recognise(tmp_path / 'nothing')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'empty holds nothing'):
        recognise(tmp_path / 'empty')


def test_two_mask_folders_beside_one_of_images_have_to_be_told_apart(tmp_path):
    write_image(tmp_path / 'images' / 'a.jpg', PIXELS)
    for folder in ('masks', 'labels'):
        write_mask(tmp_path / folder / 'a.png', MASK)
    with pytest.raises(
        ValueError, match=r'a single pair of folders \(there are images and labels; images and masks'
    ):
        recognise(tmp_path)
