"""COCO files, mask folders and videos: what they give."""

import json

import numpy as np
import pytest
from PIL import Image

from projects.mask_caption_sft.datasets import COCOInstances, MaskFolder, MaskVideo
from projects.mask_caption_sft.datasets.formats.coco_table import class_text
from projects.mask_caption_sft.datasets.formats.mask_files import read_labels
from projects.mask_caption_sft.datasets.formats.mask_pairs import pair_files
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.structures import RegionSample
from tests.own_data import (
    write_image,
    write_indexed,
    write_mask,
    write_videos,
)

PIPELINE = [
    ChooseRegions(4),
    SecondView(),
    PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
]
GREY = np.full((4, 6, 3), 99, np.uint8)
LEFT, RIGHT = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
LEFT[:, :2], RIGHT[1:3, 4:] = True, True


def raw(dataset, index=0):
    return dataset.read_record(dataset.get_data_info(index))


def masks_of(sample):
    return [mask.sum() for mask in sample.view1.masks]


def coco(root, annotations, **image):
    write_image(root / 'a.png', GREY)
    images = [{'id': 1, 'file_name': 'a.png', 'height': 4, 'width': 6} | image]
    filled = [{'image_id': 1, 'category_id': 3, 'id': i} | a for i, a in enumerate(annotations)]
    content = {'images': images, 'annotations': filled, 'categories': [{'id': 3, 'name': 'traffic_light'}]}
    (root / 'x.json').write_text(json.dumps(content))


POLYGON = [[0, 0, 2, 0, 2, 4, 0, 4]]
RUNS = {'size': [4, 6], 'counts': [8, 4, 12]}


def test_coco_masks_are_polygons_or_rles_and_crowds_are_left_out_unless_told(tmp_path):
    crowd = {'segmentation': {'size': [4, 6], 'counts': [0, 24]}, 'iscrowd': 1}
    coco(tmp_path, [{'segmentation': POLYGON}, {'segmentation': RUNS}, crowd])
    sample = raw(COCOInstances(str(tmp_path), ann_file='x.json'))
    assert masks_of(sample) == [8, 4]
    assert sample.known_areas().tolist() == [pytest.approx([8 / 24, 4 / 24])]
    assert sample.expressions == [None, None]
    assert masks_of(raw(COCOInstances(str(tmp_path), ann_file='x.json', with_crowds=True))) == [8, 4, 24]


def test_class_names_are_weak_texts_in_words(tmp_path):
    coco(tmp_path, [{'segmentation': POLYGON}, {'segmentation': RUNS, 'category_id': 9}])
    dataset = COCOInstances(str(tmp_path), ann_file='x.json', class_name_as_expression=True)
    assert raw(dataset).expressions == ['traffic light', None]
    assert [class_text(n) for n in ('bow_(weapon)', 'Wild Bird', 'Cup/Mug')] == [
        'bow',
        'wild bird',
        'cup or mug',
    ]


def test_images_are_found_by_lvis_addresses_and_in_folders_of_objects365(tmp_path):
    coco(tmp_path, [{'segmentation': POLYGON}], file_name='', coco_url='http://x.org/val2017/a.png')
    (tmp_path / 'a.png').rename(tmp_path / 'b.png')
    for folder in ('coco/val2017', 'deep/train/patch8'):
        write_image(tmp_path / folder / 'a.png', GREY)
    dataset = COCOInstances(str(tmp_path), ann_file='x.json')
    assert raw(dataset).view1.image_id == str(tmp_path / 'coco' / 'val2017' / 'a.png')
    (tmp_path / 'y').mkdir()
    coco(tmp_path / 'y', [{'segmentation': POLYGON}], file_name='images/v1/patch8/a.png')
    (tmp_path / 'y' / 'a.png').unlink()
    dataset = COCOInstances(str(tmp_path), ann_file='y/x.json', image_dir='deep/train')
    assert raw(dataset).view1.image_id == str(tmp_path / 'deep' / 'train' / 'patch8' / 'a.png')
    (tmp_path / 'z').mkdir()
    coco(tmp_path / 'z', [{'segmentation': POLYGON}], file_name='gone.png')
    with pytest.raises(FileNotFoundError, match=r'first images of x\.json \(gone\.png\) .* Set image_dir'):
        COCOInstances(str(tmp_path / 'z'), ann_file='x.json')


@pytest.mark.parametrize(
    ('content', 'said'),
    [('{"images": [', 'is not JSON, or is cut short'), ('[]', 'is no COCO file: it needs lists images and'),
     (json.dumps({'images': [], 'annotations': [{'bbox': [0, 0, 1, 1]}]}), 'boxes only, as in Objects365')],
)  # fmt: skip
def test_a_file_that_is_no_coco_file_stops_the_start(tmp_path, content, said):
    (tmp_path / 'x.json').write_text(content)
    with pytest.raises(ValueError, match=said):
        COCOInstances(str(tmp_path), ann_file='x.json')


def test_an_image_path_out_of_the_root_is_refused(tmp_path):
    (tmp_path / 'in').mkdir()
    coco(tmp_path / 'in', [{'segmentation': POLYGON}], file_name='../a.png')
    write_image(tmp_path / 'a.png', GREY)
    dataset = COCOInstances(str(tmp_path / 'in'), ann_file='x.json', image_dir='.', pipeline=PIPELINE)
    assert 'must be relative' in dataset[0].reason


def test_mask_files_hold_one_mask_or_the_ids_of_objects(tmp_path):
    path = tmp_path / 'm.png'
    ids = LEFT * np.uint8(1) + RIGHT * np.uint8(2)

    def values(pixels, how='auto', palette=False):
        image = Image.fromarray(pixels)
        if palette:
            image.putpalette(list(range(256)) * 3)
        image.save(path)
        return sorted(np.unique(read_labels(path, how)).tolist())

    assert values(ids, palette=True) == [0, 1, 2]
    assert values(np.where(RIGHT, np.uint8(255), ids), palette=True) == [0, 1]  # 255 is void
    assert values(RIGHT * np.uint8(255), palette=True) == [0, 255]
    assert values(LEFT * np.uint8(200)) == [0, 1]
    assert values(ids, 'ids') == [0, 1, 2]
    assert values(ids * np.uint8(90), 'one') == [0, 1]
    assert (read_labels(path, 'one') == RIGHT).all()  # 180 is above half, 90 is not
    assert values(ids.astype(np.uint16) * 300) == [0, 300, 600]
    assert values(np.dstack([LEFT * 255, RIGHT * 255, LEFT * 0]).astype(np.uint8)) == [0, 255 << 8, 255 << 16]
    with pytest.raises(ValueError, match=r"grey with 3 values\. Set mask_values='ids' if each is an object"):
        values(ids)
    path.write_bytes(b'')
    with pytest.raises(OSError, match=r'm\.png cannot be read as a mask'):
        read_labels(path)


def test_names_say_which_masks_belong_to_an_image():
    side = [
        'a.jpg',
        'a.png',
        'b.png',
        'b_mask.png',
        'c.jpg',
        'c_0.png',
        'c_left.png',
        'lost_mask.png',
        'd.jpg',
    ]
    pairs, lost, without = pair_files([*side, 'notes.txt'])
    assert pairs == {
        'a.jpg': [('a.png', '')],
        'b.png': [('b_mask.png', '')],
        'c.jpg': [('c_0.png', '0'), ('c_left.png', 'left')],
    }
    assert (lost, without) == (['lost_mask.png'], ['d.jpg'])
    twin = ['i/x_1.jpg', 'i/x.jpg', 'm/x_1.png', 'm/x_1_2.png', 'm/x/0.png', 'm/y.png', 'other/x.png']
    pairs, lost, _ = pair_files(twin, 'i', 'm')
    assert pairs == {'i/x.jpg': [('m/x/0.png', '0')], 'i/x_1.jpg': [('m/x_1.png', ''), ('m/x_1_2.png', '2')]}
    assert lost == ['m/y.png']


def test_the_mask_of_a_missing_image_is_not_that_of_another_one():
    names = [f'i/cat_{i}.jpg' for i in range(30)] + [f'm/cat_{i}.png' for i in range(30)]
    names += ['i/cat.jpg', 'm/cat.png']
    names.remove('i/cat_2.jpg')
    pairs, lost, _ = pair_files(names, 'i', 'm')
    assert pairs['i/cat.jpg'] == [('m/cat.png', '')]
    assert lost == ['m/cat_2.png']


@pytest.mark.parametrize('twin', [True, False])
def test_a_mask_folder_gives_the_masks_that_were_written(tmp_path, twin):
    folders = ('images', 'masks') if twin else ('', '')
    write_image(tmp_path / folders[0] / 'a.jpg', GREY)
    write_mask(tmp_path / folders[1] / 'a_0.png', LEFT)
    write_mask(tmp_path / folders[1] / 'a_cat.png', RIGHT)
    dataset = MaskFolder(
        str(tmp_path),
        folders[0],
        folders[1] if twin else None,
        class_name_as_expression=True,
        pipeline=PIPELINE,
    )
    sample = raw(dataset)
    assert np.array_equal(sample.view1.masks, [LEFT, RIGHT])
    assert sample.expressions == [None, 'cat']
    assert isinstance(dataset[0], RegionSample)


def test_classes_of_ids_come_from_a_file(tmp_path):
    write_image(tmp_path / 'a.jpg', GREY)
    write_indexed(tmp_path / 'a.png', np.array([LEFT, RIGHT]))
    options = dict(data_root=str(tmp_path), class_name_as_expression=True)
    assert raw(MaskFolder(**options)).expressions == [None, None]
    (tmp_path / 'classes.txt').write_text('Big_dog\ncat\n')
    assert raw(MaskFolder(**options)).expressions == ['big dog', 'cat']
    (tmp_path / 'classes.json').write_text('{"2": "tree"}')
    assert raw(MaskFolder(**options)).expressions == [None, 'tree']
    (tmp_path / 'classes.json').write_text('{')
    with pytest.raises(ValueError, match=r'classes\.json holds no names of classes: JSON'):
        MaskFolder(**options)


def test_a_new_mask_is_seen_at_the_next_start(tmp_path):
    write_image(tmp_path / 'a.jpg', GREY)
    write_mask(tmp_path / 'a.png', LEFT)
    assert len(raw(MaskFolder(str(tmp_path))).expressions) == 1
    write_mask(tmp_path / 'a_2.png', RIGHT)
    assert len(raw(MaskFolder(str(tmp_path))).expressions) == 2


def test_the_two_frames_of_a_video_are_at_the_given_distance_and_show_the_same_objects(tmp_path):
    write_videos(tmp_path, num_videos=2, num_frames=5, step=5)
    dataset = MaskVideo(str(tmp_path), frame_distance=(10, 15))
    assert len(dataset) == 10
    distances = set()
    for seed in range(40):
        np.random.seed(seed)
        sample = raw(dataset, seed % 10)
        first, second = (view.image_id for view in sample.views)
        assert first.rsplit('/', 1)[0] == second.rsplit('/', 1)[0]
        distances.add(abs(int(first[-9:-4]) - int(second[-9:-4])))
        for view in sample.views:
            stored = np.asarray(Image.open(view.image_id.replace('JPEGImages', 'Annotations')[:-3] + 'png'))
            values = [np.unique(stored[mask]).tolist() for mask in view.masks]
            assert values == [[i + 1] for i in range(len(sample.expressions))]
    assert distances == {10, 15}


def test_an_object_that_is_hidden_in_a_frame_is_not_paired_there(tmp_path):
    for frame, masks in enumerate([[LEFT, RIGHT], [LEFT & False, RIGHT], [LEFT, RIGHT & False]]):
        write_image(tmp_path / 'JPEGImages' / 'v' / f'{frame}.jpg', GREY)
        write_indexed(tmp_path / 'Annotations' / 'v' / f'{frame}.png', np.array(masks))
    (tmp_path / 'meta.json').write_text(
        json.dumps(
            {'videos': {'v': {'objects': {'1': {'category': 'giant_panda'}, '2': {'category': 'cat'}}}}}
        )
    )
    dataset = MaskVideo(
        str(tmp_path), frame_distance=(1, 2), class_name_as_expression=True, pipeline=PIPELINE
    )
    found = set()
    for seed in range(20):
        np.random.seed(seed)
        sample = raw(dataset)
        found.add((sample.view2.image_id[-5], *sample.expressions))
        np.random.seed(seed)
        assert raw(dataset, 1).view2.image_id[-5] == '0'  # not frame 2, which shows no cat
    assert found == {('1', 'cat'), ('2', 'giant panda')}
    alone = MaskVideo(str(tmp_path), frame_distance=(7, 9), pipeline=PIPELINE)[0]
    assert alone.is_unusable
    assert 'no annotated frame 7 to 9 away' in alone.reason


def test_a_video_with_one_annotated_frame_is_no_video(tmp_path):
    write_videos(tmp_path, num_videos=2, num_frames=1)
    with pytest.raises(ValueError, match=r'no video of .* has two annotated frames'):
        MaskVideo(str(tmp_path))
    with pytest.raises(ValueError, match=r'frame_distance=\(3, 2\) is not'):
        MaskVideo(str(tmp_path), frame_distance=(3, 2))
