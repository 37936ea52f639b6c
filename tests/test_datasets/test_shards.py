"""Work that is divided: nothing twice, nothing left out, and the merge says what is missing."""

import concurrent.futures
import json
import shutil

import pytest

from projects.mask_caption_sft.datasets import SA1B, PackedRegions, SAVPairs
from projects.mask_caption_sft.datasets.index import tree as tree_module
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding, PackTask
from projects.mask_caption_sft.datasets.packs.merge import merge_packs, shard_folder
from projects.mask_caption_sft.datasets.packs.write import write_pack
from projects.mask_caption_sft.datasets.shards import Shard, all_shards, check_all_there
from projects.mask_caption_sft.evaluation import facts_files
from projects.mask_caption_sft.evaluation.dataset_report import InspectRecord, summarize
from projects.mask_caption_sft.evaluation.facts_files import facts_path, read_facts, write_facts
from tests.one_process import OneProcessPool


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', OneProcessPool)


@pytest.mark.parametrize('total', [0, 1, 7, 100])
@pytest.mark.parametrize('count', [1, 3, 8])
def test_shards_are_runs_that_follow_each_other(total, count):
    rows = [shard.rows(total) for shard in all_shards(count)]
    assert [row for run in rows for row in run] == list(range(total))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_a_shard_is_written_i_of_n():
    assert Shard.parse('2/8') == Shard(2, 8)
    assert Shard(2, 8).name == '2-of-8'
    for text, said in [
        ('8', r"'8' is not I/N, 1/8"),
        ('0/8', 'from 1 to 8'),
        ('9/8', 'from 1 to 8'),
        ('a/b', 'I/N'),
    ]:
        with pytest.raises(ValueError, match=said):
            Shard.parse(text)


def test_what_is_missing_is_named():
    with pytest.raises(
        ValueError, match=r'x: 2 of 4 shards are missing or not finished: 2/4, 4/4\. Run each with'
    ):
        check_all_there(all_shards(4), lambda shard: shard.number % 2 == 1, 'x')


def packed_in_shards(dataset, out, shards, quality=92):
    task = PackTask(dataset, FrameEncoding('jpeg', quality))
    for shard in shards:
        write_pack(shard_folder(out, shard), shard.rows(len(dataset)), task, {'quality': quality})


def test_shards_of_a_pack_make_the_pack_that_one_machine_writes(folder, tmp_path):
    root = folder('sav')
    broken = sorted(root.rglob('*.npz'))[1]
    broken.write_bytes(b'')
    dataset = SAVPairs(data_root=str(root))
    task = PackTask(dataset, FrameEncoding('jpeg', 92))
    whole = write_pack(tmp_path / 'whole', range(3), task, {'quality': 92})
    out = tmp_path / 'out'
    packed_in_shards(dataset, out, [Shard(1, 2)])
    with pytest.raises(ValueError, match=r'1 of 2 shards are missing or not finished: 2/2'):
        merge_packs(out, 2)
    packed_in_shards(dataset, out, [Shard(2, 2)])
    merged = merge_packs(out, 2)
    same = ('records', 'broken', 'checksum', 'source')
    assert [merged[key] for key in same] == [whole[key] for key in same]
    assert (out / 'not_packed.jsonl').read_text() == (tmp_path / 'whole' / 'not_packed.jsonl').read_text()
    shutil.rmtree(out / 'shards')
    assert len(PackedRegions(data_root=str(out))) == 2


def test_shards_of_other_options_or_damaged_ones_are_not_put_together(written, tmp_path):
    dataset = SAVPairs(data_root=str(written / 'sav'))
    packed_in_shards(dataset, tmp_path, [Shard(1, 2)])
    packed_in_shards(dataset, tmp_path, [Shard(2, 2)], quality=50)
    with pytest.raises(ValueError, match=r'2-of-2 was made with .*quality.* 50.*Remove it'):
        merge_packs(tmp_path, 2)


def test_shards_of_a_table_are_found_by_the_merge(written, tmp_path, monkeypatch):
    for name in ('_MOST', '_LEAST'):
        monkeypatch.setattr(
            tree_module, {'_MOST': '_FILES_PER_TASK', '_LEAST': '_LEAST_FILES_PER_TASK'}[name], 1
        )
    declared = dict(data_root=str(written / 'sa1b'), index_dir=str(tmp_path), lazy_init=True)
    dataset = SA1B(**declared)
    assert dataset.build_shard(Shard(1, 2), 1) == (2, 3)
    [(_, files)] = dataset.missing_parts()
    assert files == ['sa_000001.json']
    assert not list(tmp_path.rglob('table.json'))
    assert dataset.build_shard(Shard(2, 2), 1) == (1, 3)
    assert dataset.missing_parts() == []
    read = []
    source = type(dataset.table_source())
    monkeypatch.setattr(source, 'read', lambda self, names: read.append(names))
    assert dataset.open_table(1).info['records'] == 3
    assert read == []


def facts_in_shards(dataset, out, shards, rows):
    for shard in shards:
        own = [rows[i] for i in shard.rows(len(rows))]
        write_facts(facts_path(out, 'sa1b', shard), dataset, own, len(rows))


def test_facts_of_shards_are_those_of_one_machine_and_no_record_is_read_twice(written, tmp_path, monkeypatch):
    dataset = SA1B(data_root=str(written / 'sa1b'), max_masks=None)
    shards, rows = all_shards(2), [0, 1, 2]
    facts_in_shards(dataset, tmp_path, shards[:1], rows)
    with pytest.raises(ValueError, match='sa1b: 1 of 2 shards are missing'):
        read_facts(tmp_path, 'sa1b', 2)
    facts_in_shards(dataset, tmp_path, shards[1:], rows)
    total, facts = read_facts(tmp_path, 'sa1b', 2)
    assert summarize(facts, total) == summarize(map(InspectRecord(dataset), rows), 3)
    path = facts_path(tmp_path, 'sa1b', shards[1])
    lines = path.read_text().splitlines(keepends=True)
    path.with_suffix('.part').write_text(''.join(lines[:2]) + lines[2][:20])  # killed in the middle of a line
    path.unlink()
    inspected = []
    inspect = facts_files.inspect
    monkeypatch.setattr(
        facts_files,
        'inspect',
        lambda data, own, workers: inspected.extend(own) or inspect(data, own, workers),
    )
    facts_in_shards(dataset, tmp_path, shards, rows)
    assert inspected == [2]
    assert path.read_text() == ''.join(lines)
    head = json.loads(lines[0])
    path.write_text(json.dumps(head | {'read': 2}) + '\n')
    with pytest.raises(ValueError, match=r'has read other data, or another --sample, than sa1b\.1-of-2'):
        read_facts(tmp_path, 'sa1b', 2)
