"""What is found below a folder, and what is noticed later."""

import os

import numpy as np
import pytest

from projects.mask_caption_sft.datasets import SA1B, SAVPairs
from projects.mask_caption_sft.datasets.index import listing as listing_module
from projects.mask_caption_sft.datasets.index.listing import (
    differences,
    list_named,
    list_tree,
    sampled_differences,
)
from projects.mask_caption_sft.datasets.index.tree import FileTree


@pytest.fixture
def tree(tmp_path):
    """Five JSON files: one at the top, two in ``a``, two in ``b``."""
    root = tmp_path / 'tree'
    for name in ('0.json', 'a/1.json', 'a/2.json', 'b/3.json', 'b/4.json', 'b/4.jpg', '.hidden/5.json'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{}')
    return root


def test_files_are_listed_in_the_order_of_their_paths(tree):
    found = list_tree(tree, '*.json')
    assert found.names == ['0.json', 'a/1.json', 'a/2.json', 'b/3.json', 'b/4.json']
    assert found.stats[:, 0].tolist() == [2] * 5
    assert {name: count for name, (_, count) in found.folders.items()} == {'.': 1, 'a': 2, 'b': 2}


def test_linked_folders_are_followed_and_none_is_listed_twice(tree, tmp_path):
    (tmp_path / 'other_disk' / 'c').mkdir(parents=True)
    (tmp_path / 'other_disk' / 'c' / '6.json').write_text('{}')
    (tree / 'c').symlink_to(tmp_path / 'other_disk' / 'c')
    (tree / 'A_again').symlink_to(tree / 'a')  # comes first in the order of names
    (tree / 'b' / 'circle').symlink_to(tree)
    (tree / 'c' / 'back').symlink_to(tmp_path / 'other_disk')
    (tree / 'leads_nowhere').symlink_to(tmp_path / 'gone')
    assert list_tree(tree, '*.json').names == [
        '0.json', 'a/1.json', 'a/2.json', 'b/3.json', 'b/4.json', 'c/6.json',
    ]  # fmt: skip


@pytest.mark.parametrize(('name', 'kind'), [('sav', SAVPairs), ('sa1b', SA1B)])
def test_a_dataset_on_several_disks_is_read_whole(folder, tmp_path, name, kind):
    root = folder(name)
    whole = len(kind(data_root=str(root)))
    inner = root / 'part_000' if name == 'sav' else root
    (tmp_path / 'joined').mkdir()
    (tmp_path / 'joined' / 'part').symlink_to(inner)
    assert len(kind(data_root=str(tmp_path / 'joined'))) == whole == 3


CHANGES = {
    'a/1.json has changed': lambda root: (root / 'a' / '1.json').write_text('{"a": 1}'),
    'b/3.json has changed': lambda root: os.utime(root / 'b' / '3.json', ns=(5, 5)),
    'a/2.json is gone': lambda root: (root / 'a' / '2.json').unlink(),
    'b/7.json is new': lambda root: (root / 'b' / '7.json').write_text('{}'),
    'd/8.json is new': lambda root: ((root / 'd').mkdir(), (root / 'd' / '8.json').write_text('{}')),
    None: lambda root: (root / 'b' / '4.jpg').unlink(),
}


@pytest.mark.parametrize('text', CHANGES)
def test_every_change_of_a_file_is_noticed(tree, text):
    then = list_tree(tree, '*.json').remembered()
    assert differences(then, list_tree(tree, '*.json')) == []
    CHANGES[text](tree)
    assert differences(then, list_tree(tree, '*.json')) == ([text] if text else [])


SAMPLED = CHANGES | {
    'b has 3 files instead of 2': CHANGES['b/7.json is new'],
    'd is new': CHANGES['d/8.json is new'],
}
del SAMPLED['b/7.json is new'], SAMPLED['d/8.json is new']


@pytest.mark.parametrize('text', SAMPLED)
def test_of_many_files_folders_and_a_sample_are_looked_at(tree, monkeypatch, text):
    monkeypatch.setattr(listing_module, 'MAX_LOOKED_AT', 2)
    monkeypatch.setattr(listing_module, '_NUM_SAMPLED', 5)
    then = list_tree(tree, '*.json').remembered()
    assert sampled_differences(then, tree, '*.json') == []
    SAMPLED[text](tree)
    found = sampled_differences(then, tree, '*.json')
    assert (text in found) if text else found == []


def test_a_new_archive_behind_a_link_is_noticed_among_many_files(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(listing_module, 'MAX_LOOKED_AT', 2)
    (tree / 'b' / 'circle').symlink_to(tree)
    then = list_tree(tree, '*.json').remembered()
    assert sampled_differences(then, tree, '*.json') == []
    (tmp_path / 'disk').mkdir()
    (tree / 'archive').symlink_to(tmp_path / 'disk')
    assert sampled_differences(then, tree, '*.json') == ['archive is new']


def test_named_files_are_those_of_the_names(tree):
    found = list_named(tree, ['0.json', str(tree / 'a' / '1.json'), 'gone.json'])
    assert found.stats[:, 0].tolist() == [2, 2, -1]


def test_a_new_folder_leaves_the_tasks_of_large_folders_as_they_were(tmp_path):
    """Archives of 700 files: each is a task of its own, so that a new one is read alone."""

    def tasks(folders):
        names = [f'{folder}/{i:04d}.json' for folder in folders for i in range(700)]
        listing = listing_module.Listing(names, np.zeros((len(names), 2), np.int64))
        return {tuple(names[row] for row in rows) for rows in FileTree(str(tmp_path)).tasks(listing)}

    before, after = tasks(['a', 'c']), tasks(['a', 'b', 'c'])
    assert len(before) == 2
    assert before < after
    # Folders of one file each share a task.
    names = [f'{i:04d}/x.json' for i in range(1000)]
    listing = listing_module.Listing(names, np.zeros((1000, 2), np.int64))
    assert [len(rows) for rows in FileTree(str(tmp_path)).tasks(listing)] == [500, 500]
