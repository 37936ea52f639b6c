"""Several folders of one's own in a config."""

import pytest
from mmengine.config import Config

from projects.mask_caption_sft.datasets import COCOInstances, MaskFolder, RegionMix
from projects.mask_caption_sft.engine.own_data import OwnData, add_own_data
from tests.own_data import write_coco, write_mask_folder


@pytest.fixture
def config():
    return Config.fromfile('configs/mask_caption_sft_tiny.py', format_python_code=False)


@pytest.fixture
def folders(tmp_path):
    write_coco(tmp_path / 'first', 6)
    write_mask_folder(tmp_path / 'second', 9)
    return str(tmp_path / 'first'), str(tmp_path / 'second')


def test_each_folder_is_a_dataset_with_an_equal_share_and_a_validation(config, folders):
    said = add_own_data(config, OwnData(folders))
    train, val = (config[loader].dataset.datasets for loader in ('train_dataloader', 'val_dataloader'))
    assert list(train) == ['data', 'data_2']
    assert list(val) == ['data_val', 'data_2_val']
    assert [train[name].type for name in train] == [COCOInstances, MaskFolder]
    assert [train[name].data_root for name in train] == list(folders)
    assert [val[name].part for name in val] == ['val', 'val']
    assert said[0].startswith(f'{folders[0]}: coco (COCOInstances), dataset data: instances.json; 6 images')
    assert said[1].startswith(f'{folders[1]}: mask_folder (MaskFolder), dataset data_2: 9 images with ')
    assert all(line.endswith('5% held out for validation; 50% of the draws') for line in said)
    [cycle] = [metric for metric in config.val_evaluator if metric.get('datasets')]
    assert cycle['datasets'] == ['data_val', 'data_2_val']


def test_the_draws_have_the_shares_that_were_said(config, folders):
    add_own_data(config, OwnData(folders))
    declared = config.train_dataloader.dataset.datasets
    mix = RegionMix({name: dict(declared[name]) | {'pipeline': ()} for name in declared})
    assert mix.counts == [500, 500]


def test_beside_the_mix_they_share_what_it_leaves(config, folders):
    said = add_own_data(config, OwnData(folders, mix_share=0.75))
    declared = config.train_dataloader.dataset.datasets
    weights = {name: declared[name].weight for name in declared}
    assert list(weights)[-2:] == ['data', 'data_2']
    own = weights['data'] + weights['data_2']
    assert weights['data'] == weights['data_2']
    assert own / sum(weights.values()) == pytest.approx(0.25)
    assert said[0].endswith('12% of the draws')
    names = [name for metric in config.val_evaluator for name in metric.get('datasets') or ()]
    assert names[-2:] == ['data_val', 'data_2_val']
    assert 'sa1b_val' in names


def test_one_folder_keeps_its_name_and_needs_no_weight(config, folders):
    [said] = add_own_data(config, OwnData(folders[:1]))
    assert list(config.train_dataloader.dataset.datasets) == ['data']
    assert 'weight' not in config.train_dataloader.dataset.datasets.data
    assert said.startswith(f'{folders[0]}: coco (COCOInstances): ')
    assert said.endswith('5% held out for validation')


def test_pipelines_are_not_shared(config, folders):
    add_own_data(config, OwnData(folders))
    first, second = config.train_dataloader.dataset.datasets.values()
    first.pipeline[0]['max_regions'] = 1
    assert second.pipeline[0]['max_regions'] != 1


def test_layouts_are_for_all_or_for_each(config, folders):
    add_own_data(config, OwnData(folders, layouts=('coco', 'mask_folder')))
    with pytest.raises(ValueError, match=r'No layout fits\. The nearest:\n  --layout coco'):
        add_own_data(config, OwnData(folders, layouts=('coco',)))
    with pytest.raises(ValueError, match='there are 2 --data and 3 --layout'):
        add_own_data(config, OwnData(folders, layouts=('coco',) * 3))


def test_a_folder_that_is_given_twice_is_refused(config, folders):
    with pytest.raises(ValueError, match='is given twice'):
        add_own_data(config, OwnData((folders[0], folders[0])))
