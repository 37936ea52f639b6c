"""What is wrong with the data is said with file, record and mend."""

import csv
import io
import json
import pickle
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs, collate_regions
from projects.mask_caption_sft.datasets.formats.restricted_pickle import load_plain_pickle
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.evaluation.dataset_report import InspectRecord, summarize
from projects.mask_caption_sft.ops.prompts import check_expression
from projects.mask_caption_sft.structures import BrokenRecord

ALL = [('sav', SAVPairs), ('sa1b', SA1B), ('openimages', OpenImages), ('refcoco', RefCOCO)]
PIPELINE = [
    ChooseRegions(4),
    SecondView(),
    PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
]


def broken_reason(dataset, index: int = 0) -> str:
    """Reason of a record that has to be broken; its file has to be named."""
    sample = dataset[index]
    assert isinstance(sample, BrokenRecord)
    assert sample.sample_id == dataset.get_data_info(index)['sample_id']
    assert sample.dataset == dataset.name
    return sample.reason


# ---------------------------------------------------------------- before the first step


@pytest.mark.parametrize(('name', 'kind'), ALL)
def test_a_missing_root_says_what_was_expected_and_where_it_comes_from(tmp_path, name, kind):
    with pytest.raises(FileNotFoundError) as error:
        kind(data_root=str(tmp_path / 'nothing'), name=name)
    message = str(error.value)
    assert f'nothing is missing (dataset {name!r})' in message.replace(str(tmp_path) + '/', '')
    assert kind.LAYOUT in message
    assert 'https://' in message
    assert 'Set data_root in the config' in message


@pytest.mark.parametrize('kind', [SAVPairs, SA1B])
def test_an_empty_folder_is_named(tmp_path, kind):
    with pytest.raises(ValueError, match=r'holds no record for dataset .* Expected'):
        kind(data_root=str(tmp_path))


def test_a_missing_table_is_named(folder):
    root = folder('openimages')
    (root / 'oidv7-class-descriptions.csv').unlink()
    with pytest.raises(FileNotFoundError, match=r'oidv7-class-descriptions\.csv is missing'):
        OpenImages(data_root=str(root))


def rewrite_rows(path, change):
    with path.open(newline='') as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open('w', newline='') as file:
        csv.writer(file).writerows(rows)


def test_an_unknown_label_is_named_with_its_line(folder):
    root = folder('openimages')
    table = root / 'train-annotations-object-segmentation.csv'
    rewrite_rows(table, lambda rows: rows[2].__setitem__(2, '/m/unheard'))
    dataset = OpenImages(data_root=str(root))
    reason = broken_reason(dataset, len(dataset) - 1)
    assert "line 3: label '/m/unheard' is not in oidv7-class" in reason


def test_a_short_row_is_named_with_its_line(folder):
    root = folder('openimages')
    table = root / 'train-annotations-object-segmentation.csv'
    rewrite_rows(table, lambda rows: rows.__setitem__(1, rows[1][:1]))
    dataset = OpenImages(data_root=str(root))
    assert 'line 2: it has 1 values, the header 10' in broken_reason(dataset, len(dataset) - 1)


def test_a_table_of_another_release_does_not_start_a_run(folder):
    root = folder('openimages')
    table = root / 'train-annotations-object-segmentation.csv'
    rewrite_rows(table, lambda rows: [row.__setitem__(2, '/m/old') for row in rows[1:]])
    with pytest.raises(ValueError, match=r'(\d+) of \1 rows are faulty; the first: .*line 2: label'):
        OpenImages(data_root=str(root))


def rewrite_refs(root, change):
    path = root / 'refs(unc).p'
    refs = pickle.loads(path.read_bytes())
    change(refs)
    path.write_bytes(pickle.dumps(refs, protocol=2))


def test_a_ref_without_annotation_is_named(folder):
    root = folder('refcoco')
    rewrite_refs(root, lambda refs: refs[0].update(ref_id=7, ann_id=123456))
    with pytest.raises(ValueError, match=r'ref 7 names annotation 123456, which is not in .*instances'):
        RefCOCO(data_root=str(root))


def test_a_split_that_does_not_exist_is_named_with_those_that_do(written):
    with pytest.raises(ValueError, match=r"no split 'test'. Set split to one of \['train', 'val'\]"):
        RefCOCO(data_root=str(written / 'refcoco'), split='test')


class Intruder:
    def __reduce__(self):
        return print, ('this must never be printed',)


def test_a_pickle_that_calls_anything_is_refused(tmp_path, capsys):
    path = tmp_path / 'refs(unc).p'
    path.write_bytes(pickle.dumps([Intruder()]))
    with pytest.raises(ValueError, match=r'it refers to builtins\.print'):
        load_plain_pickle(path)
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('content', [b'', b'\x80\x02]q\x00(K\x01', b'no pickle at all'])
def test_a_damaged_pickle_is_named(tmp_path, content):
    path = tmp_path / 'refs(unc).p'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'refs\(unc\)\.p is not a pickle of plain containers'):
        load_plain_pickle(path)


def test_a_pickle_of_plain_containers_is_read(tmp_path):
    path = tmp_path / 'plain.p'
    content = [{'a': (1, 2.5, 'x', None, True, ['y'])}]
    path.write_bytes(pickle.dumps(content, protocol=2))
    assert load_plain_pickle(path) == content


# ---------------------------------------------------------------- records, while training


def rewrite_npz(root, change):
    path = sorted(root.rglob('*.npz'))[0]
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez_compressed(path, **arrays)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda a: a.pop('mask2'), r"keys \['mask2'\] are missing; the file has \['frame1'"),
        (lambda a: a.update(mask1=a['mask1'][:-1]), r'frame1 of \(192, 192, 3\) does not match mask1 of'),
        (lambda a: a['frame2'].__setitem__((0, 0), np.nan), 'frame2 holds values that are not finite'),
        (lambda a: a['mask1'].__setitem__((0, 0), np.inf), 'mask1 holds values that are not finite'),
        (lambda a: a['mask2'].fill(0), 'mask2 is empty: the object is not visible'),
        (lambda a: a.update(mask1=a['mask1'] / 255), r'mask1 is in 0\.\.1; .*multiply by 255'),
        (
            lambda a: a.update(frame1=a['frame1'] / 255),
            r'frame1 has a range of values from 0.* to [01].*Scale',
        ),
        (
            lambda a: a.update(frame2=a['frame2'] / 127.5 - 1),
            r'frame2 has a range of values from -\d.*written in 0\.\.255',
        ),
        (
            lambda a: a.update(frame2=(a['frame2'] / 255 - 0.45) / 0.22),
            r'frame2 has a range of values from -',
        ),
        (lambda a: a.update(frame1=a['frame1'] * 257), r'frame1 has a range of values from \d+ to \d{5};'),
        (lambda a: a.update(frame1=np.array('text')), 'frame1 of .* does not match|ufunc'),
    ],
)
def test_a_wrong_pair_is_named(folder, change, reason):
    root = folder('sav')
    rewrite_npz(root, change)
    found = broken_reason(SAVPairs(data_root=str(root), pipeline=PIPELINE))
    assert re.search(reason, found), found


def test_verifying_counts_frames_of_another_range(folder):
    root = folder('sav')
    rewrite_npz(root, lambda arrays: arrays.update(frame1=arrays['frame1'] / 255))
    dataset = SAVPairs(data_root=str(root), pipeline=PIPELINE)
    summary = summarize(map(InspectRecord(dataset), range(3)), 3)
    assert summary['faults'] == {'wrong range': 1}
    assert 'frame1 has a range of values from 0' in summary['broken_records'][0][1]


@pytest.mark.parametrize(
    'change',
    [lambda f: f * 0, lambda f: (f > 128) * 3.0, lambda f: f * 1.1 - 12],
    ids=['black', 'dark', 'over'],
)
def test_black_and_dark_frames_are_frames_and_so_are_overshooting_ones(folder, change):
    """Dark ones hold whole numbers above 1; bicubic resizing leaves values a little outside 0..255."""
    root = folder('sav')
    rewrite_npz(root, lambda arrays: arrays.update(frame1=change(arrays['frame1'])))
    assert not isinstance(SAVPairs(data_root=str(root), pipeline=PIPELINE)[0], BrokenRecord)


@pytest.mark.parametrize('dtype', [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize(('name', 'kind'), [('sa1b', SA1B), ('openimages', OpenImages), ('refcoco', RefCOCO)])
def test_an_image_of_more_than_8_bits_is_refused_and_not_white(folder, name, kind, dtype):
    root = folder(name)
    dataset = kind(data_root=str(root), pipeline=PIPELINE)
    path = Path(dataset.read_record(dataset.get_data_info(0)).view1.image_id)
    gray = np.asarray(Image.open(path).convert('L')).astype(dtype) * 257
    Image.fromarray(gray).save(path, format='PNG' if dtype is np.uint16 else 'TIFF')
    assert re.search(r'pixels of 16 or 32 bits .*convert it to 8 bits per channel', broken_reason(dataset))
    summary = summarize(map(InspectRecord(dataset), range(3)), 3)
    assert summary['faults'] == {'wrong range': 1}


@pytest.mark.parametrize(('name', 'kind', 'pattern'), [
    ('sav', SAVPairs, '*.npz'), ('sa1b', SA1B, '*.jpg'), ('sa1b', SA1B, '*.json'),
    ('openimages', OpenImages, '*.jpg'), ('openimages', OpenImages, '*.png'),
    ('refcoco', RefCOCO, '*.jpg'),
])  # fmt: skip
@pytest.mark.parametrize('share', [0.0, 0.5, 0.9])
def test_a_truncated_file_breaks_its_record_only(folder, name, kind, pattern, share):
    root = folder(name)
    for path in sorted(root.rglob(pattern)):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
    dataset = kind(data_root=str(root), pipeline=PIPELINE)
    assert all(isinstance(dataset[i], BrokenRecord) for i in range(len(dataset)))


@pytest.mark.parametrize('error', [zlib.error('x'), Image.DecompressionBombError('x'), IndexError('x')])
def test_what_damaged_files_raise_never_ends_the_run(written, monkeypatch, error):
    dataset = SA1B(data_root=str(written / 'sa1b'), pipeline=PIPELINE)

    def fail(record):
        raise error

    monkeypatch.setattr(dataset, 'read_record', fail)
    assert type(error).__name__ in broken_reason(dataset)


def test_an_image_of_another_size_is_named(folder):
    root = folder('sa1b')
    Image.new('RGB', (50, 40)).save(sorted(root.glob('*.jpg'))[0])
    reason = broken_reason(SA1B(data_root=str(root), pipeline=PIPELINE))
    assert 'sa_000000.jpg is 50 x 40, its JSON says' in reason


def test_an_rle_of_another_size_is_named(folder):
    root = folder('sa1b')
    path = sorted(root.glob('*.json'))[0]
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        annotation['segmentation']['size'] = [10, 20]
    path.write_text(json.dumps(content))
    reason = broken_reason(SA1B(data_root=str(root), pipeline=PIPELINE))
    assert 'the RLE is of size [10, 20], the image of' in reason


def test_a_mask_of_another_shape_than_its_image_is_named(folder):
    root = folder('openimages')
    for path in root.rglob('*.png'):
        Image.new('1', (100, 100), 1).save(path)
    reason = broken_reason(OpenImages(data_root=str(root), pipeline=PIPELINE))
    assert 'of 100 x 100 has a different aspect ratio from its image of 240 x 180' in reason


def test_an_expression_with_a_special_token_is_named(folder):
    root = folder('refcoco')
    for ref_text in ('please [SEG] it', '   '):
        rewrite_refs(root, lambda refs, t=ref_text: [s.update(sent=t) for r in refs for s in r['sentences']])
        reason = broken_reason(RefCOCO(data_root=str(root), pipeline=PIPELINE))
        assert 'mend the annotation' in reason
    assert check_expression('the left cat') is None


def test_a_batch_without_a_valid_sample_has_no_region_and_keeps_the_names():
    batch = collate_regions([BrokenRecord('sav', 'a.npz', 'OSError: truncated')] * 2)['batch']
    assert len(batch) == 0
    assert [record.sample_id for record in batch.skipped] == ['a.npz', 'a.npz']


def test_a_huge_array_in_an_npz_is_refused_before_it_is_allocated(folder):
    dataset = SAVPairs(data_root=str(folder('sav')))
    path = dataset.get_data_info(0)['sample_id']
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    header = io.BytesIO()
    shape = (10**7, 10**5, 3)
    np.lib.format.write_array_header_1_0(header, dict(descr='<f4', fortran_order=False, shape=shape))
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in (entries | {'frame1.npy': b'\x93NUMPY\x01\x00' + header.getvalue()[8:]}).items():
            archive.writestr(name, data)
    reason = broken_reason(dataset)
    assert (
        'frame1.npy says it is float32 of (10000000, 100000, 3), 12000000000000 bytes; 0 are there' in reason
    )


@pytest.mark.parametrize('error', [MemoryError(), OverflowError('too large'), SyntaxError('not a TIFF')])
def test_whatever_a_reader_raises_is_the_record_and_not_the_run(folder, monkeypatch, error):
    dataset = SAVPairs(data_root=str(folder('sav')))

    def fail(record):
        raise error

    monkeypatch.setattr(dataset, 'read_record', fail)
    assert broken_reason(dataset).startswith(type(error).__name__)
