"""Datasets, tables and packs in a bucket give what they give on disk."""

import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from projects.mask_caption_sft.datasets import (
    SA1B,
    COCOInstances,
    MaskFolder,
    MaskVideo,
    OpenImages,
    PackedRegions,
    RefCOCO,
    SAVPairs,
)
from projects.mask_caption_sft.datasets.layouts.recognise import recognise
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding, PackTask, whole_dataset
from projects.mask_caption_sft.datasets.packs.write import write_pack
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.structures import BrokenRecord
from tests.bucket import ALONE, CREDENTIALS, serving
from tests.own_data import write_coco, write_mask_folder, write_videos

PIPELINE = [
    ChooseRegions(4),
    SecondView(),
    PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
]
FORMATS = {
    'sav': (SAVPairs, {}),
    'sa1b': (SA1B, {}),
    'openimages': (OpenImages, {}),
    'refcoco': (RefCOCO, {}),
    'coco': (COCOInstances, {'ann_file': 'instances.json'}),
    'mask_folder': (MaskFolder, {'image_dir': 'images', 'mask_dir': 'masks'}),
    'mask_video': (MaskVideo, {'frame_distance': (1, 3)}),
}


@pytest.fixture(scope='module')
def bucket():
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """One with an empty cache, and nobody's credentials."""
    for name, value in {**ALONE, 'MASK_CAPTION_SFT_CACHE': str(tmp_path / 'cache')}.items():
        monkeypatch.setenv(name, value)
    for name in (*CREDENTIALS, 'AWS_ENDPOINT_URL', 'AWS_PROFILE'):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope='module')
def on_disk(written, tmp_path_factory):
    root = tmp_path_factory.mktemp('own')
    write_coco(root / 'coco', 3)
    write_mask_folder(root / 'mask_folder', 3)
    write_videos(root / 'mask_video', 2, 3)
    return lambda name: (written if (written / name).exists() else root) / name


def opened(name, root, **kwargs):
    kind, arguments = FORMATS[name]
    return kind(data_root=str(root), name=name, seed=0, pipeline=PIPELINE, **arguments, **kwargs)


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip((first[i] for i in range(len(first))), (second[i] for i in range(len(second)))):
        for view in ('view1', 'view2'):
            for part in ('pixel_values', 'g_pixel_values', 'visual_prompts', 'masks'):
                assert torch.equal(getattr(getattr(one, view), part), getattr(getattr(other, view), part))
        assert one.expressions == other.expressions


@pytest.mark.parametrize('name', list(FORMATS))
def test_every_format_reads_from_a_bucket_what_it_reads_from_disk(bucket, on_disk, name):
    uri = bucket.upload(on_disk(name), f'formats/{name}')
    remote = opened(name, uri, backend_args=bucket.backend_args)
    assert remote.get_data_info(0)['sample_id'].startswith(uri)
    assert_same(opened(name, on_disk(name)), remote)


def test_a_file_that_was_replaced_is_read_again_and_what_was_kept_is_not(
    bucket, on_disk, tmp_path, monkeypatch
):
    uri = bucket.upload(on_disk('coco'), 'replaced')
    before = len(opened('coco', uri, backend_args=bucket.backend_args))
    made = []
    from projects.mask_caption_sft.datasets.index import table

    build = table.build_table
    monkeypatch.setattr(table, 'build_table', lambda *args: made.append(args) or build(*args))
    opened('coco', uri, backend_args=bucket.backend_args)
    assert not made
    write_coco(tmp_path / 'new', 5, seed=1)
    bucket.upload(tmp_path / 'new', 'replaced')
    assert len(opened('coco', uri, backend_args=bucket.backend_args)) == 5 != before
    assert len(made) == 1


def test_a_folder_in_a_bucket_notices_new_files(bucket, on_disk, tmp_path):
    uri = bucket.upload(on_disk('mask_folder'), 'growing')
    assert len(opened('mask_folder', uri, backend_args=bucket.backend_args)) == 3
    write_mask_folder(tmp_path / 'more', 4, seed=2)
    bucket.upload(tmp_path / 'more', 'growing')
    assert len(opened('mask_folder', uri, backend_args=bucket.backend_args)) == 4


def test_a_table_that_was_put_into_the_bucket_is_taken_by_other_machines(
    bucket, on_disk, tmp_path, monkeypatch
):
    uri = bucket.upload(on_disk('sa1b'), 'published')
    first = opened('sa1b', uri, backend_args=bucket.backend_args)
    assert len(first) == 3
    [made] = (tmp_path / 'cache' / 'mask_index').glob('*/*/table.json')
    bucket.upload(made.parent, f'published/.mask_index/{made.parent.name}')
    monkeypatch.setenv('MASK_CAPTION_SFT_CACHE', str(tmp_path / 'another machine'))
    from projects.mask_caption_sft.datasets.index import table

    build = table.build_table
    monkeypatch.setattr(table, 'build_table', None)  # it must not be needed
    assert_same(first, opened('sa1b', uri, backend_args=bucket.backend_args))
    [name] = [name for name in bucket.store.find('data/published') if name.endswith('1.json')][:1]
    bucket.store.rm(name)  # now the table in the bucket is stale
    monkeypatch.setattr(table, 'build_table', build)
    monkeypatch.setenv('MASK_CAPTION_SFT_CACHE', str(tmp_path / 'a third one'))
    assert len(opened('sa1b', uri, backend_args=bucket.backend_args)) == 2


def pack(root, folder):
    dataset = whole_dataset('sa1b', dict(type=SA1B, data_root=str(root)))
    write_pack(folder, range(len(dataset)), PackTask(dataset, FrameEncoding()), {'root': str(root)})
    return folder


def test_a_pack_is_copied_once_and_again_when_it_was_replaced(bucket, on_disk, tmp_path, monkeypatch):
    from projects.mask_caption_sft.datasets.remote import copies

    local = pack(on_disk('sa1b'), tmp_path / 'pack')
    uri = bucket.upload(local, 'pack')
    copied = []
    copy = copies.copy_file
    monkeypatch.setattr(
        copies, 'copy_file', lambda path, *args: copied.append(path.name) or copy(path, *args)
    )
    packs = [
        PackedRegions(data_root=root, seed=0, pipeline=PIPELINE, backend_args=args)
        for root, args in ((str(local), None), (uri, bucket.backend_args), (uri, bucket.backend_args))
    ]
    assert_same(*packs[:2])
    assert_same(*packs[1:])
    assert sorted(copied) == [
        'area_ratio.npy', 'data.mdb', 'frame_distance.npy', 'manifest.json', 'names.bin', 'names_ends.npy',
    ]  # fmt: skip
    assert copied[-1] == 'manifest.json'
    (tmp_path / 'more').mkdir()
    annotations = sorted(on_disk('sa1b').rglob('sa_*.json'))[0]
    for path in (annotations, annotations.with_suffix('.jpg')):
        (tmp_path / 'more' / path.name).write_bytes(path.read_bytes())
    bucket.upload(pack(tmp_path / 'more', tmp_path / 'smaller'), 'pack')
    assert len(PackedRegions(data_root=uri, backend_args=bucket.backend_args)) == 1
    assert copied.count('data.mdb') == 2


def read_in_worker(uri, backend_args, results):
    dataset = opened('sa1b', uri, backend_args=backend_args)
    results.put([type(dataset[i]).__name__ for i in range(len(dataset))])


@pytest.mark.parametrize('method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)])
def test_workers_read_after_the_main_process_has(bucket, on_disk, method):
    """A connection does not outlive a fork: a worker that used its parent's would wait for ever."""
    uri = bucket.upload(on_disk('sa1b'), f'workers-{method}')
    dataset = opened('sa1b', uri, backend_args=bucket.backend_args)
    assert not isinstance(dataset[0], BrokenRecord)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context=method, timeout=300
    )
    assert [type(sample).__name__ for sample in loader] == ['RegionSample'] * len(dataset)


def test_processes_that_start_together_copy_and_list_once(bucket, on_disk, tmp_path):
    uri = bucket.upload(on_disk('sa1b'), 'together')
    context = multiprocessing.get_context('fork')
    results = context.Queue()
    workers = [
        context.Process(target=read_in_worker, args=(uri, bucket.backend_args, results)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=300) for _ in workers]
    for worker in workers:
        worker.join()
    assert found == [['RegionSample'] * 3] * 3
    assert len(list((tmp_path / 'cache' / 'mask_index').glob('*/*/table.json'))) == 1


def test_the_layout_of_a_bucket_is_recognised(bucket, on_disk, monkeypatch):
    for name, value in {**CREDENTIALS, 'AWS_ENDPOINT_URL': bucket.address}.items():
        monkeypatch.setenv(name, value)
    for name in ('coco', 'mask_folder', 'mask_video', 'sa1b', 'refcoco'):
        root, finding = recognise(bucket.upload(on_disk(name), f'layouts/{name}'))
        assert (root, finding.layout) == (f's3://data/layouts/{name}', name)


def test_a_packed_image_of_a_bucket_keeps_its_bytes(bucket, on_disk, tmp_path):
    uri = bucket.upload(on_disk('sa1b'), 'bytes')
    dataset = whole_dataset('sa1b', dict(type=SA1B, data_root=uri, backend_args=bucket.backend_args))
    [record], _ = PackTask(dataset, FrameEncoding())(0)
    image = sorted(on_disk('sa1b').rglob('*.jpg'))[0]
    assert record.views[0].encoded == image.read_bytes()


def test_a_record_that_is_gone_or_damaged_is_broken_and_the_others_are_read(bucket, on_disk):
    uri = bucket.upload(on_disk('sa1b'), 'damaged')
    dataset = opened('sa1b', uri, backend_args=bucket.backend_args)
    names = [dataset.get_data_info(i)['sample_id'][len('s3://') : -len('.json')] for i in range(3)]
    bucket.store.rm(f'{names[0]}.jpg')
    bucket.store.pipe_file(f'{names[1]}.jpg', b'no picture')
    gone, damaged, good = (dataset[i] for i in range(3))
    assert f's3://{names[0]}.jpg' in gone.reason
    assert 'is missing' in gone.reason
    assert 'cannot be read as an image' in damaged.reason
    assert not isinstance(good, BrokenRecord)


def test_a_skip_list_of_a_bucket_is_kept_and_may_be_on_disk(bucket, on_disk, tmp_path):
    uri = bucket.upload(on_disk('sa1b'), 'skipped')
    everything = opened('sa1b', uri, backend_args=bucket.backend_args)
    name = everything.short_id(everything.get_data_info(0)['sample_id'])
    line = f'{{"sample_id": "{name}", "reason": ""}}\n'
    (tmp_path / 'list.jsonl').write_text(line)
    listed = opened('sa1b', uri, backend_args=bucket.backend_args, skip_list=str(tmp_path / 'list.jsonl'))
    assert len(listed) == 2
    bucket.store.pipe_file('data/skipped/skip_list.jsonl', line.encode())
    assert len(opened('sa1b', uri, backend_args=bucket.backend_args)) == 2


def test_no_such_bucket(bucket):
    with pytest.raises(
        FileNotFoundError, match=r"s3://nowhere/x: there is no bucket 'nowhere'\. Correct data_root"
    ):
        len(opened('sa1b', 's3://nowhere/x', backend_args=bucket.backend_args))


def test_no_such_folder(bucket):
    with pytest.raises(FileNotFoundError, match=r's3://data/nothing is missing .dataset .sa1b.*Expected sa_'):
        len(opened('sa1b', 's3://data/nothing', backend_args=bucket.backend_args))


def test_no_credentials(bucket):
    with pytest.raises(PermissionError, match=r'there are no credentials.*AWS_ACCESS_KEY_ID.*anon=True'):
        len(opened('sa1b', 's3://data/x', backend_args={'endpoint_url': bucket.address}))


def test_nothing_answers(monkeypatch):
    """Tried again, as after an error of the disk, and then said in a line."""
    quick = {'connect_timeout': 1, 'read_timeout': 1, 'retries': {'max_attempts': 0}}
    args = {'endpoint_url': 'http://127.0.0.1:9', 'key': 'a', 'secret': 'b', 'config_kwargs': quick}
    monkeypatch.setattr('s3fs.core.S3FileSystem.retries', 1)
    with pytest.raises(OSError, match=r's3://data/x: no answer .*127\.0\.0\.1:9.*endpoint_url') as caught:
        len(opened('sa1b', 's3://data/x', backend_args=args))
    assert '\n' not in str(caught.value)
    from projects.mask_caption_sft.datasets.base import DISK_ERRORS

    assert caught.value.errno in DISK_ERRORS


def test_an_unknown_store_and_a_missing_package():
    with pytest.raises(ValueError, match=r'nix://x/y: .*Known are s3://'):
        len(opened('sa1b', 'nix://x/y'))
    with pytest.raises(OSError, match=r'pip install -r requirements-remote\.txt'):
        len(opened('sa1b', 'gs://x/y'))


def test_a_disk_that_is_too_small_is_said_before_the_copy(bucket, on_disk, monkeypatch):
    from projects.mask_caption_sft.datasets.remote import copies

    uri = bucket.upload(on_disk('coco'), 'large')
    monkeypatch.setattr(copies.shutil, 'disk_usage', lambda path: SimpleNamespace(free=10))
    with pytest.raises(
        OSError, match=r'instances\.json has .* bytes and .* has room for 10\. Set MASK_CAPTION'
    ):
        len(opened('coco', uri, backend_args=bucket.backend_args))


def test_a_table_is_not_written_into_a_bucket(bucket, on_disk, tmp_path):
    uri = bucket.upload(on_disk('sa1b'), 'index')
    with pytest.raises(ValueError, match="index_dir='tables' would be below s3://data/index"):
        len(opened('sa1b', uri, backend_args=bucket.backend_args, index_dir='tables'))
    kept = opened('sa1b', uri, backend_args=bucket.backend_args, index_dir=str(tmp_path / 'tables'))
    assert len(kept) == 3
    assert np.array(list((tmp_path / 'tables').glob('*/table.json'))).size == 1
