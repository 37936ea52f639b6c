"""Frames and masks of a prepared pair belong together: videos of a square that moves as told."""

import concurrent.futures
import importlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from projects.mask_caption_sft.datasets import PackedRegions, SAVPairs
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding
from projects.mask_caption_sft.datasets.packs.write import write_pack
from projects.mask_caption_sft.datasets.preparing.sav import PrepareVideo
from projects.mask_caption_sft.datasets.preparing.sav_video import (
    PairOptions,
    choose_pairs,
    count_frames,
    decode_frames,
    find_videos,
    read_masklets,
)
from projects.mask_caption_sft.ops.mask import encode_rle
from tests.one_process import OneProcessPool

HEIGHT, WIDTH, SIDE = 96, 160, 20


def square(frame: int) -> tuple[int, int]:
    """Top left corner of the square in a frame: two pixels to the right each."""
    return 30, 2 * frame


def square_mask(frame: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    y, x = square(frame)
    mask[y : y + SIDE, x : x + SIDE] = True
    return mask


def write_video(folder: Path, name: str = 'sav_000001', num_frames: int = 49, annotations: int = 13) -> Path:
    """An mp4 with a red square; a second object is hidden in every other annotation."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{name}.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 24, (WIDTH, HEIGHT))
    for frame in range(num_frames):
        image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        image[square_mask(frame)] = (20, 20, 230)  # BGR
        writer.write(image)
    writer.release()
    empty = np.zeros((HEIGHT, WIDTH), bool)
    masklets = [
        [encode_rle(square_mask(4 * i)), encode_rle(square_mask(4 * i) if i % 2 else empty)]
        for i in range(annotations)
    ]
    (folder / f'{name}_manual.json').write_text(json.dumps({'video_id': name, 'masklet': masklets}))
    return path


def test_decoded_frames_are_those_asked_for(tmp_path):
    path = write_video(tmp_path)
    assert count_frames(path) == 49
    frames = decode_frames(path, [48, 0, 4, 20, 4])
    assert sorted(frames) == [0, 4, 20, 48]
    for number, image in frames.items():
        red = (image[..., 0] > 150) & (image[..., 1] < 100)
        truth = square_mask(number)
        assert (red & truth).sum() / (red | truth).sum() > 0.9
        for neighbour in (number - 4, number + 4):
            if 0 <= neighbour <= 48:
                other = square_mask(neighbour)
                assert (red & other).sum() / (red | other).sum() < 0.6


def prepare(videos: Path, out: Path, workers: int = 1, **options) -> PackedRegions:
    task = PrepareVideo(str(videos), PairOptions(**options))
    paths = find_videos(videos)
    write_pack(out, paths, task, options, workers)
    return PackedRegions(data_root=str(out))


def test_videos_behind_links_are_found(tmp_path):
    disk = tmp_path / 'disk'
    disk.mkdir()
    (disk / 'b.mp4').touch()
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos' / 'a.mp4').touch()
    (tmp_path / 'videos' / 'part').symlink_to(disk)
    (disk / 'back').symlink_to(tmp_path / 'videos')
    assert find_videos(tmp_path / 'videos') == [str(tmp_path / 'videos' / n) for n in ('a.mp4', 'part/b.mp4')]


def test_annotation_i_is_frame_4i_so_masks_lie_on_what_moves(tmp_path):
    write_video(tmp_path / 'videos')
    pack = prepare(tmp_path / 'videos', tmp_path / 'pack', pairs_per_masklet=8, frame_distance=(8, 40))
    assert len(pack) == 16
    names = [pack.get_data_info(i)['sample_id'] for i in range(len(pack))]
    assert len(set(names)) == 16
    orders = set()
    for i, name in enumerate(names):
        video, masklet, frames = name.split('/')
        numbers = [int(number) for number in frames.split('-')]
        assert video == 'sav_000001'
        assert 8 <= abs(numbers[1] - numbers[0]) <= 40
        orders.add(numbers[0] < numbers[1])
        if masklet == 'manual001':
            assert all(number // 4 % 2 for number in numbers), 'hidden in every other annotation'
        sample = pack.read_record(pack.get_data_info(i))
        for view, number in zip((sample.view1, sample.view2), numbers):
            assert np.array_equal(view.masks[0], square_mask(number))
            inside, outside = view.image[view.masks[0]].mean(0), view.image[~view.masks[0]].mean(0)
            assert inside[0] > 180 > 80 > inside[2], 'red, not blue'
            assert outside.max() < 80
        assert pack.read_packed(i).frame_distance == abs(numbers[1] - numbers[0])
    assert orders == {True, False}


def test_the_same_seed_gives_the_same_pairs_on_any_number_of_workers(tmp_path):
    for number in range(3):
        write_video(tmp_path / 'videos' / str(number), f'sav_{number:06d}')

    def pairs(name, **options):
        pack = prepare(tmp_path / 'videos', tmp_path / name, **options)
        return [pack.get_data_info(i)['sample_id'] for i in range(len(pack))]

    first = pairs('one')
    assert pairs('two', workers=2) == first
    assert pairs('three', seed=1) != first


def test_bounds_on_distance_area_and_shape():
    def rle(height: int, width: int) -> dict:
        mask = np.zeros((100, 100), bool)
        mask[:height, :width] = True
        return encode_rle(mask)

    sizes = [(10, 10), (10, 10), (20, 20), (10, 30), (0, 0), (10, 10)]
    masklets = [[rle(*size)] for size in sizes]

    def chosen(num_frames=100, **options):
        options = PairOptions(pairs_per_masklet=100, **({'frame_distance': (4, 20)} | options))
        pairs = choose_pairs(masklets, num_frames, 'manual', options, 'v')
        return {tuple(sorted((pair.first, pair.second))) for pair in pairs}

    every = {(0, 1), (0, 2), (0, 3), (0, 5), (1, 2), (1, 3), (1, 5), (2, 3), (2, 5), (3, 5)}
    assert chosen(max_aspect_change=9.0) == every
    assert chosen(max_aspect_change=2.0) == {pair for pair in every if 3 not in pair}
    assert chosen(max_aspect_change=9.0, max_area_change=3.5) == every - {(0, 2), (1, 2), (2, 5)}
    assert chosen(max_aspect_change=9.0, min_area_ratio=0.02) == {(2, 3)}
    assert chosen(max_aspect_change=9.0, frame_distance=(8, 12)) == {(0, 2), (0, 3), (1, 3), (2, 5), (3, 5)}
    # Annotation 5 is frame 20: a video of 20 frames ends before it.
    assert chosen(num_frames=20, max_aspect_change=9.0) == {pair for pair in every if 5 not in pair}
    assert (0, 5) in chosen(num_frames=21)


def test_npz_pairs_are_those_that_the_dataset_reads(tmp_path):
    video = write_video(tmp_path / 'videos')
    task = PrepareVideo(str(tmp_path / 'videos'), PairOptions(), npz_dir=str(tmp_path / 'npz'))
    assert task(str(video)) == ([], [])
    dataset = SAVPairs(data_root=str(tmp_path / 'npz'))
    assert len(dataset) == 4
    sample = dataset.read_record(dataset.get_data_info(0))
    assert sample.view1.image.shape == (512, 512, 3)
    assert sample.view1.image[sample.view1.masks[0]].mean(0).argmax() == 0, 'red'
    first = next(iter(sorted((tmp_path / 'npz').rglob('*.npz'))))
    written = first.stat().st_mtime_ns
    task(str(video))
    assert first.stat().st_mtime_ns == written, 'a second run does not write again'


def test_large_frames_are_shrunk_with_their_masks(tmp_path):
    video = write_video(tmp_path)
    task = PrepareVideo(str(tmp_path), PairOptions(), max_side=80, encoding=FrameEncoding('png'))
    record = task(str(video))[0][0]
    assert record.views[0].size == (48, 80)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        ('empty', 'cannot be opened as a video, or holds no frame'),
        ('json', 'is not an annotation file of SA-V (JSONDecodeError'),
        ('keys', "is not an annotation file of SA-V (KeyError: 'masklet'"),
        ('size', 'is (96, 160), its masks are (96, 200)'),
    ],
)
def test_what_is_wrong_with_a_video_is_named(tmp_path, damage, message):
    video, path = write_video(tmp_path), tmp_path / 'sav_000001_manual.json'
    if damage == 'empty':
        video.write_bytes(b'')
    elif damage == 'json':
        path.write_text(path.read_text()[:200])
    elif damage == 'keys':
        path.write_text('{}')
    else:
        wide = encode_rle(np.pad(square_mask(0), ((0, 0), (0, 40))))
        path.write_text(json.dumps({'masklet': [[wide]] * 13}))
    records, broken = PrepareVideo(str(tmp_path), PairOptions(frame_distance=(4, 4), pairs_per_masklet=99))(
        str(video)
    )
    assert records == []
    assert broken[0][0] in ('sav_000001.mp4', 'sav_000001_manual.json')
    assert message in broken[0][1]


def test_the_real_annotations_give_pairs(shared_dir):
    masklets = read_masklets(shared_dir / 'data' / 'sav_json' / 'sav_000001_manual.json')
    assert (len(masklets), len(masklets[0])) == (121, 5)
    assert masklets[0][0]['size'] == [848, 480]
    pairs = choose_pairs(masklets, 483, 'manual', PairOptions(), 'sav_000001')
    assert 5 <= len(pairs) <= 10
    assert {pair.masklet for pair in pairs} <= set(range(5))
    assert all(8 <= 4 * abs(pair.first - pair.second) <= 96 for pair in pairs)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool, in this process, on three videos: ``tool('out', '--format', 'npz')``."""
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', OneProcessPool)
    for number in range(3):
        write_video(tmp_path / 'videos', f'sav_{number:06d}')

    def call(out, *args):
        given = ['--videos', str(tmp_path / 'videos'), '--out', str(tmp_path / out), *args]
        monkeypatch.setattr(sys, 'argv', ['prepare_sav.py', *given])
        importlib.import_module('prepare_sav').main()
        return tmp_path / out

    return call


@pytest.mark.parametrize('kind', ['lmdb', 'npz'])
def test_shards_of_videos_make_what_one_machine_makes(tool, kind):
    whole = tool('whole', '--format', kind)
    out = tool('out', '--format', kind, '--shard', '2/2')
    with pytest.raises(SystemExit) as stopped:
        tool('out', '--format', kind, '--merge', '2')
    assert '1 of 2 shards are missing or not finished: 1/2' in stopped.value.code
    tool('out', '--format', kind, '--shard', '1/2')
    tool('out', '--format', kind, '--merge', '2')
    assert (out / 'not_packed.jsonl').read_text() == (whole / 'not_packed.jsonl').read_text()
    if kind == 'lmdb':
        manifests = [json.loads((folder / 'manifest.json').read_text()) for folder in (whole, out)]
        assert manifests[0]['checksum'] == manifests[1]['checksum']
    else:
        found = [{path.name for path in folder.rglob('*.npz')} for folder in (whole, out)]
        assert found[0] == found[1] != set()


def test_new_videos_are_added_to_a_pack(tool, tmp_path):
    out = tool('out')
    before = len(PackedRegions(data_root=str(out)))
    write_video(tmp_path / 'videos', 'sav_000009')
    tool('out', '--append')
    packed = PackedRegions(data_root=str(out))
    videos = [packed.get_data_info(i)['sample_id'].split('/')[0] for i in range(len(packed))]
    assert set(videos[:before]) == {f'sav_{number:06d}' for number in range(3)}
    assert set(videos[before:]) == {'sav_000009'}
    with pytest.raises(SystemExit, match='--append adds to a whole pack'):
        tool('out', '--append', '--shard', '1/2')
