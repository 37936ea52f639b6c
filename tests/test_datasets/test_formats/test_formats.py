"""Each dataset reads its format on disk, and gives the one record."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs
from projects.mask_caption_sft.datasets.lazy_masks import LazyMasks
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.structures import BrokenRecord, RegionSample

SIZES = dict(image_size=56, grounding_size=128, grid_size=2, max_tiles=1)
ALL = [('sav', SAVPairs), ('sa1b', SA1B), ('openimages', OpenImages), ('refcoco', RefCOCO)]


def pipeline(max_regions=4, full_masks=False, **second):
    return [ChooseRegions(max_regions), SecondView(**second), PackRegions(full_masks=full_masks, **SIZES)]


def raw(dataset, index=0):
    return dataset.read_record(dataset.get_data_info(index))


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_every_dataset_gives_the_one_record(written, name, kind):
    dataset = kind(data_root=str(written / name), name=name, pipeline=pipeline())
    for index in range(len(dataset)):
        sample = dataset[index]
        regions = len(sample)
        assert 1 <= regions <= 4
        assert sample.dataset == name
        assert str(written / name) in sample.sample_id
        for view in (sample.view1, sample.view2):
            assert view.pixel_values.shape == (1, 3, 56, 56)
            assert view.g_pixel_values.shape == (3, 128, 128)
            assert view.g_pixel_values.dtype == torch.uint8
            assert view.masks.shape == (regions, 32, 32)
            assert view.masks.flatten(1).any(1).all()
        assert sample.view1.visual_prompts.flatten(1).any(1).all()
        assert [e is None for e in sample.expressions] == [name != 'refcoco'] * regions


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_a_seed_makes_every_draw_the_same(written, name, kind):
    def draw(seed):
        return kind(data_root=str(written / name), seed=seed, pipeline=pipeline(max_regions=1))[0]

    first, again = draw(5), draw(5)
    assert torch.equal(first.view2.pixel_values, again.view2.pixel_values)
    assert torch.equal(first.view1.masks, again.view1.masks)
    assert first.expressions == again.expressions


def test_a_seeded_draw_leaves_the_workers_random_numbers_alone(written):
    dataset = SA1B(data_root=str(written / 'sa1b'), seed=0, pipeline=pipeline())
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    dataset[0]
    assert np.random.random() == expected


def test_sav_channels_are_bgr_unless_told(written):
    bgr = raw(SAVPairs(data_root=str(written / 'sav')))
    rgb = raw(SAVPairs(data_root=str(written / 'sav'), channel_order='rgb'))
    stored = np.load(bgr.sample_id)['frame1'].astype(np.uint8)
    assert np.array_equal(bgr.view1.image, stored[..., ::-1])
    assert np.array_equal(rgb.view1.image, stored)
    with pytest.raises(ValueError, match="channel_order='grb' is not one of"):
        SAVPairs(data_root=str(written / 'sav'), channel_order='grb')


def test_sav_views_are_two_frames_and_stay_so(written):
    sample = raw(SAVPairs(data_root=str(written / 'sav')))
    assert sample.view2 is not None
    kept = SecondView().transform({'sample': sample})['sample']
    assert kept.view2 is sample.view2


def test_sa1b_filters_masks_by_their_scores(folder):
    root = folder('sa1b')
    path = sorted(root.glob('*.json'))[0]
    content = json.loads(path.read_text())
    content['annotations'][0]['predicted_iou'] = 0.5
    content['annotations'][1]['stability_score'] = 0.5
    content['annotations'][2]['area'] = 0
    path.write_text(json.dumps(content))
    total = len(content['annotations'])
    assert len(raw(SA1B(data_root=str(root))).expressions) == total - 1
    strict = SA1B(data_root=str(root), mask_filter=dict(min_predicted_iou=0.9, min_stability_score=0.9))
    assert len(raw(strict).expressions) == total - 3 if total > 3 else True


@pytest.mark.parametrize(('name', 'kind'), [('sa1b', SA1B), ('refcoco', RefCOCO)])
def test_only_the_mask_that_is_trained_on_is_decoded(written, monkeypatch, name, kind):
    """And it is the one that was drawn when all were decoded first."""
    from projects.mask_caption_sft.datasets import lazy_masks

    decoded = []
    decode = lazy_masks.coco_mask.decode
    monkeypatch.setattr(lazy_masks.coco_mask, 'decode', lambda rle: decoded.append(1) or decode(rle))
    dataset = kind(data_root=str(written / name))
    for seed in range(10):
        lazy, eager = raw(dataset), raw(dataset)
        eager.expressions = lazy.expressions
        eager.view1.masks = np.array(eager.view1.masks)
        areas = eager.view1.masks.mean((1, 2))
        least = np.unique(areas)[1]  # the smallest is not drawn
        decoded.clear()
        np.random.seed(seed)
        chosen = ChooseRegions(1, min_area_ratio=least).transform({'sample': lazy})['sample'].view1.masks
        assert len(decoded) == len(chosen) == 1
        np.random.seed(seed)
        drawn = np.random.choice(np.flatnonzero(areas >= least), 1, replace=False)
        assert np.array_equal(chosen, eager.view1.masks[drawn])


def test_masks_in_files_are_read_until_enough_are_large_enough(written, monkeypatch):
    from projects.mask_caption_sft.datasets.formats import openimages

    read = []
    read_mask = openimages._read_mask
    monkeypatch.setattr(openimages, '_read_mask', lambda *args: read.append(args[0].name) or read_mask(*args))
    dataset = OpenImages(data_root=str(written / 'openimages'))
    np.random.seed(0)
    areas = raw(dataset).view1.masks.mean((1, 2))
    read.clear()
    kept = ChooseRegions(1).transform({'sample': raw(dataset)})['sample']
    assert len(read) == len(kept.expressions) == 1
    largest = ChooseRegions(1, min_area_ratio=areas.max()).transform({'sample': raw(dataset)})['sample']
    assert largest.view1.masks.mean() == areas.max()


def test_openimages_masks_are_brought_to_the_image_by_nearest(written):
    sample = raw(OpenImages(data_root=str(written / 'openimages')))
    assert sample.view1.masks.shape[1:] == sample.view1.image.shape[:2] == (180, 240)
    path = next((written / 'openimages' / 'masks' / 'train').glob('*.png'))
    assert Image.open(path).size == (320, 240)


def test_openimages_masks_may_be_in_folders_by_first_digit(folder):
    root = folder('openimages')
    flat = raw(OpenImages(data_root=str(root)))
    for path in list((root / 'masks' / 'train').glob('*.png')):
        path.parent.joinpath(path.name[0]).mkdir(exist_ok=True)
        path.rename(path.parent / path.name[0] / path.name)
    assert np.array_equal(raw(OpenImages(data_root=str(root))).view1.masks, flat.view1.masks)


def test_openimages_class_table_may_have_no_header(folder):
    root = folder('openimages')
    table = root / 'oidv7-class-descriptions.csv'
    table.write_text('\n'.join(table.read_text().splitlines()[1:]))
    texts = raw(OpenImages(data_root=str(root), class_name_as_expression=True)).expressions
    assert set(texts) <= {'circle', 'square', 'triangle', 'star'}


def test_refcoco_draws_one_sentence_per_object_or_takes_them_all(written):
    root = str(written / 'refcoco')
    one, every = raw(RefCOCO(data_root=root)), raw(RefCOCO(data_root=root, every_expression=True))
    assert len(one.expressions) < len(every.expressions)
    assert set(one.expressions) <= set(every.expressions)


@pytest.mark.parametrize('folder_name', ['refcoco+', 'RefCOCOg'])
def test_refcoco_never_trains_on_a_held_out_image_of_a_set_beside_it(folder, folder_name):
    import pickle
    import shutil

    root = folder('refcoco')
    everything = RefCOCO(data_root=str(root))
    shared = int(everything.get_data_info(0)['sample_id'].split()[-1])
    beside = root.parent / folder_name
    shutil.copytree(root, beside)
    refs = [{'image_id': shared, 'split': 'testA'}]
    (beside / 'refs(unc).p').write_bytes(pickle.dumps(refs, protocol=2))
    guarded = RefCOCO(data_root=str(root))
    drawn = {guarded.get_data_info(i)['sample_id'] for i in range(len(guarded))}
    assert everything.get_data_info(0)['sample_id'] not in drawn
    assert len(guarded) == len(everything) - 1


def to_json(root, name='refs(unc).json', change=lambda refs: None):
    path = root / 'refs(unc).p'
    refs = pickle.loads(path.read_bytes())
    change(refs)
    path.unlink()
    (root / name).write_text(json.dumps(refs))


def test_refcoco_reads_json_refs_like_pickled_ones(written, folder):
    root = folder('refcoco')
    to_json(root)
    first, second = (
        raw(RefCOCO(data_root=str(written / 'refcoco'), every_expression=True)),
        raw(RefCOCO(data_root=str(root), every_expression=True)),
    )
    assert first.expressions == second.expressions
    assert np.array_equal(first.view1.masks, second.view1.masks)


@pytest.mark.parametrize('place', ['train2014', 'images/train2014', '../coco2014/train2014', '.'])
def test_refcoco_finds_images_in_nested_and_flat_folders(folder, place):
    root = folder('refcoco')
    images = list((root / 'coco2014' / 'train2014').iterdir())
    (root / place).mkdir(parents=True, exist_ok=True)
    for path in images:
        path.rename(root / place / path.name)
    assert raw(RefCOCO(data_root=str(root))).view1.image.shape == (180, 240, 3)


def to_grefcoco(root):
    """The first image's refs: the union of its first two objects, nothing, and the third alone."""

    def change(refs):
        refs[0].update(ann_id=[refs[0]['ann_id'], refs[1]['ann_id']])
        refs[1].update(ann_id=[-1], sentences=[{'sent_id': 1, 'sent': 'the white cat'}])
        refs[2].update(ann_id=[refs[2]['ann_id']])

    to_json(root, 'grefs(unc).json', change)


def test_grefcoco_unites_targets_and_leaves_out_expressions_that_fit_nothing(folder, written):
    root = folder('refcoco')
    before = raw(RefCOCO(data_root=str(root)))
    to_grefcoco(root)
    sample = raw(RefCOCO(data_root=str(root)))
    assert len(sample.expressions) == len(before.expressions) - 1
    assert 'the white cat' not in sample.expressions
    assert np.array_equal(sample.view1.masks[0], before.view1.masks[0] | before.view1.masks[1])
    assert np.array_equal(sample.view1.masks[1], before.view1.masks[2])


def test_an_expression_that_fits_nothing_trains_an_empty_mask_if_told(folder):
    root = folder('refcoco')
    to_grefcoco(root)
    pipeline = [ChooseRegions(None), SecondView(), PackRegions(**SIZES)]
    sample = RefCOCO(data_root=str(root), no_target='empty', pipeline=pipeline)[0]
    row = sample.expressions.index('the white cat')
    for view in (sample.view1, sample.view2):
        assert [bool(mask.any()) for mask in view.masks] == [i != row for i in range(len(sample))]
        assert not view.visual_prompts[row].any()
    with pytest.raises(ValueError, match="no_target='blank' is not one of"):
        RefCOCO(data_root=str(root), no_target='blank')


def test_refcoco_uses_the_images_file_name_not_the_refs(written):
    sample = raw(RefCOCO(data_root=str(written / 'refcoco')))
    assert sample.view1.image_id.endswith('COCO_train2014_000000000001.jpg')


def test_max_samples_limits_a_dataset(written):
    assert len(SA1B(data_root=str(written / 'sa1b'), max_samples=2)) == 2


def test_the_second_view_keeps_what_it_must_show(written):
    np.random.seed(0)
    dataset = SA1B(data_root=str(written / 'sa1b'))
    for _ in range(20):
        sample = raw(dataset)
        areas = sample.view1.masks.sum((1, 2))
        second = SecondView(crop_ratio=(0.4, 0.9)).transform({'sample': sample})['sample'].view2
        assert (second.masks.sum((1, 2)) >= 0.7 * areas).all()
        assert second.image_id != sample.view1.image_id


def test_left_stays_left_unless_mirroring_is_asked_for(written):
    dataset = SA1B(data_root=str(written / 'sa1b'))
    same = dict(crop_ratio=(1.0, 1.0), color_ratio=0.0)
    plain = SecondView(**same).transform({'sample': raw(dataset)})['sample']
    mirrored = SecondView(**same, mirror_prob=1.0).transform({'sample': raw(dataset)})['sample']
    assert np.array_equal(plain.view2.masks, plain.view1.masks)
    assert np.array_equal(mirrored.view2.masks, plain.view1.masks[:, :, ::-1])


def test_an_empty_mask_is_never_drawn(written):
    sample = raw(SA1B(data_root=str(written / 'sa1b')))
    sample.view1.masks[0] = False
    kept = ChooseRegions(None).transform({'sample': sample})['sample']
    assert kept.view1.masks.any((1, 2)).all()
    sample.view1.masks[:] = False
    with pytest.raises(ValueError, match=r'none of .* masks is visible in both views'):
        ChooseRegions(None).transform({'sample': sample})


@pytest.mark.parametrize('key', ['mask1', 'mask2'])
def test_a_pair_in_which_the_object_is_not_visible_is_unusable_and_not_broken(folder, key):
    root = folder('sav')
    dataset = SAVPairs(data_root=str(root), pipeline=pipeline())
    path = dataset.get_data_info(0)['sample_id']
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {key: np.zeros_like(arrays[key])})
    found = dataset[0]
    assert isinstance(found, BrokenRecord)
    assert found.is_unusable
    assert found.reason == f'unusable: {key} is empty: the object is not visible in that frame'


def test_an_image_whose_regions_are_all_too_small_is_unusable_and_not_broken(written):
    steps = [ChooseRegions(4, min_area_ratio=0.9), *pipeline()[1:]]
    found = SA1B(data_root=str(written / 'sa1b'), pipeline=steps)[0]
    assert isinstance(found, BrokenRecord)
    assert found.is_unusable
    assert 'masks is visible in both views with an area between 0.9 and 1.0' in found.reason


def test_regions_can_be_chosen_by_area(written):
    sample = raw(SA1B(data_root=str(written / 'sa1b')))
    areas = sorted(sample.view1.masks.mean((1, 2)))
    kept = ChooseRegions(None, min_area_ratio=areas[1]).transform({'sample': sample})['sample']
    assert len(kept.expressions) == len(areas) - 1


def test_masks_shrunk_at_their_centres_stay_where_they_are():
    def shrunk(mask, mode):
        return LazyMasks.from_array(mask).shrunk((64, 64), 8, mode)[0].nonzero()

    mask, odd = np.zeros((2, 1, 64, 64), bool)
    mask[:, 16:40, 8:32] = True
    centre = (shrunk(mask, 'nearest-exact').float() + 0.5).mean(0) / 8
    assert centre.tolist() == pytest.approx([28 / 64, 20 / 64])
    odd[:, 4:20, 4:20] = True  # borders in the middle of cells: 'nearest' moves it
    assert shrunk(odd, 'nearest').min() == 1
    assert shrunk(odd, 'nearest-exact').min() == 0
    with pytest.raises(ValueError, match="mask_sampling='bilinear' is not one of"):
        PackRegions(mask_sampling='bilinear', **SIZES)


def test_it_reads_the_real_sav_pairs(shared_dir):
    root = str(shared_dir / 'data' / 'sav_pairs')
    dataset = SAVPairs(data_root=root, pipeline=pipeline(full_masks=True))
    assert len(dataset) > 0
    samples = [dataset[index] for index in range(len(dataset))]
    reasons = [sample.reason for sample in samples if isinstance(sample, BrokenRecord)]
    good = [sample for sample in samples if isinstance(sample, RegionSample)]
    assert all('is empty' in reason for reason in reasons)
    assert len(good) > len(reasons)
    assert all(sample.view1.masks.shape == (1, 512, 512) for sample in good)
