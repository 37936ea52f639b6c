"""Draws from several datasets, their order, and the batches made of them."""

import pickle
from collections import Counter

import pytest
import torch
from torch.utils.data import DataLoader

from projects.mask_caption_sft.datasets import SA1B, RegionMix, SAVPairs, collate_regions
from projects.mask_caption_sft.datasets.mix import DrawSampler, RegionConcat, _shuffled
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.structures import BrokenRecord, UnusableRecordError
from tests.miniature import miniature_sample
from tests.small_run import Numbers

PIPELINE = [
    ChooseRegions(2),
    SecondView(),
    PackRegions(max_tiles=1, image_size=56, grid_size=2, grounding_size=128),
]


@pytest.fixture
def declared(written):
    return dict(
        sav=dict(type=SAVPairs, data_root=str(written / 'sav'), weight=3.0, pipeline=PIPELINE),
        sa1b=dict(type=SA1B, data_root=str(written / 'sa1b'), weight=1.0, pipeline=PIPELINE),
    )


def test_shares_are_exact_within_a_block(declared):
    mix = RegionMix(declared)
    assert Counter(mix.locate(draw)[0] for draw in range(1000)) == {'sav': 750, 'sa1b': 250}


def test_a_dataset_is_walked_without_repetition_in_another_order_each_time(declared):
    mix = RegionMix(declared)
    walked = [index for name, index in map(mix.locate, range(2000)) if name == 'sav']
    turns = [tuple(walked[i : i + 3]) for i in range(0, len(walked) - 2, 3)]
    assert all(sorted(turn) == [0, 1, 2] for turn in turns)
    assert len(set(turns)) == 6  # every order of three occurs


@pytest.mark.parametrize('length', [1, 2, 3, 17, 64, 1000])
def test_the_shuffle_is_a_permutation(length):
    assert sorted(_shuffled(i, length, (0, 1)) for i in range(length)) == list(range(length))


def test_the_same_draw_gives_the_same_record_after_pickling(declared):
    mix = RegionMix(declared)
    again = pickle.loads(pickle.dumps(mix))
    assert [mix.locate(i) for i in range(50)] == [again.locate(i) for i in range(50)]


def test_none_drops_a_dataset_and_an_empty_mix_is_refused(declared):
    assert list(RegionMix(declared | {'sav': None}).datasets) == ['sa1b']
    with pytest.raises(ValueError, match='The mix has no dataset left'):
        RegionMix({'sav': None})


def test_a_weight_of_zero_is_refused_with_the_mend(declared):
    declared['sav']['weight'] = 0
    with pytest.raises(ValueError, match=r"positive, got \{'sav': 0\}. Set a dataset to None"):
        RegionMix(declared)


def test_without_weights_the_records_times_repeats_decide(declared):
    for config in declared.values():
        config.pop('weight')
    assert RegionMix(declared).counts == [500, 500]
    declared['sav']['repeats'] = 3
    mix = RegionMix(declared)
    assert mix.counts == [750, 250]
    assert len(mix) == 3 * 3 + 3
    declared['sa1b']['weight'] = 1.0
    with pytest.raises(ValueError, match=r"Datasets \['sav'\] have no weight and others do"):
        RegionMix(declared)


def test_repeats_count_in_the_length_of_an_epoch_where_weights_decide_the_shares(declared):
    declared['sa1b']['repeats'] = 10
    mix = RegionMix(declared)
    assert mix.counts == [750, 250]
    assert len(mix) == 3 + 30
    declared['sa1b']['repeats'] = 0.5
    with pytest.raises(ValueError, match='repeats must be positive whole numbers'):
        RegionMix(declared)


def test_a_draw_is_the_same_sample_on_any_worker(declared):
    """Crops and chosen regions too: they do not depend on what was drawn before."""
    mix = RegionMix(declared)
    first = [mix[draw] for draw in range(8)]
    again = [mix[draw] for draw in reversed(range(8))][::-1]
    for one, two in zip(first, again):
        assert torch.equal(one.view2.pixel_values, two.view2.pixel_values)
        assert torch.equal(one.view2.masks, two.view2.masks)
    crops = {float(sample.view2.pixel_values.sum()) for sample in first}
    assert len(crops) > 4


def test_a_tiny_weight_still_has_a_draw_per_block(declared):
    declared['sav']['weight'] = 1e-9
    mix = RegionMix(declared)
    assert mix.counts == [1, 999]


def test_the_table_tells_shares_and_passes(declared):
    table = RegionMix(declared, epoch_len=12).describe()
    assert [line.split() for line in table.splitlines()[1:]] == [
        ['sav', '3', '75.0%', '3.00'],
        ['sa1b', '3', '25.0%', '1.00'],
    ]


def test_ranks_share_the_draws_out(declared):
    mix = RegionMix(declared, epoch_len=7)
    sampler = DrawSampler(mix)
    sampler.rank, sampler.world_size = 1, 2
    draws = iter(sampler)
    assert [next(draws) for _ in range(4)] == [1, 3, 5, 7]
    assert len(sampler) == 4


def test_workers_read_the_mix(declared):
    mix = RegionMix(declared)
    loader = DataLoader(mix, 2, sampler=DrawSampler(mix), num_workers=2, collate_fn=collate_regions)
    names = [record for _, batch in zip(range(3), loader) for record in batch['batch'].sample_ids]
    expected = [mix[draw].sample_id for draw in range(6)]
    assert list(dict.fromkeys(names)) == list(dict.fromkeys(expected))


def test_validation_walks_datasets_in_order_whatever_they_weigh_in_a_mix(declared):
    declared['sa1b']['repeats'] = 5
    joined = RegionConcat(declared)
    assert [joined[i].dataset for i in range(len(joined))] == ['sav'] * 3 + ['sa1b'] * 3


def test_every_validation_sees_the_same_although_the_dataset_states_no_seed(declared):
    joined = RegionConcat(declared)
    first, again = joined[4], joined[4]
    assert torch.equal(first.view2.pixel_values, again.view2.pixel_values)
    other = RegionConcat(declared, seed=1)[4]
    assert not torch.equal(first.view2.pixel_values, other.view2.pixel_values)
    declared['sa1b']['seed'] = 1
    assert torch.equal(RegionConcat(declared)[4].view2.pixel_values, other.view2.pixel_values)


@pytest.mark.parametrize('seed', [None, -1])
def test_a_mix_without_a_seed_is_refused_with_the_mend(declared, seed):
    with pytest.raises(ValueError, match=rf'has seed={seed}\. .* set train_dataloader\.dataset\.seed'):
        RegionMix(declared, seed=seed)


def test_a_large_seed_draws_as_any_other(declared):
    mix = RegionMix(declared, seed=2**40 + 1)
    assert torch.equal(mix[5].view1.pixel_values, mix[5].view1.pixel_values)
    assert [mix.locate(i) for i in range(50)] != [RegionMix(declared, seed=1).locate(i) for i in range(50)]


def test_an_image_that_occurs_twice_is_stored_once():
    first = miniature_sample('a', [None, None])
    same_view = miniature_sample('b', ['the cat'], 'refcoco')
    same_view.view2 = same_view.view1
    batch = collate_regions([first, same_view, first])['batch']
    assert batch.image_ids == ['a#1', 'a#2', 'b#1']
    assert batch.image_index1.tolist() == [0, 0, 2, 0, 0]
    assert batch.image_index2.tolist() == [1, 1, 2, 1, 1]
    assert len(batch.pixel_values) == len(batch.g_pixel_values) == 3
    assert batch.datasets == ['sav', 'sav', 'refcoco', 'sav', 'sav']


def test_a_batch_moves_as_one(declared):
    batch = collate_regions([miniature_sample('a', [None])])['batch'].to('meta')
    assert {t.device.type for t in (batch.pixel_values, batch.image_index1, *batch.masks1)} == {'meta'}
    assert isinstance(batch.pixel_values, torch.Tensor)


def nothing_visible():
    raise UnusableRecordError('mask1 is empty')


def broken():
    raise OSError('truncated')


def test_an_unusable_record_is_replaced_by_the_next_of_its_dataset(tmp_path):
    """The batch keeps its size; another draw than that of the record is as it was."""

    def mix(faults):
        return RegionMix({'numbers': dict(type=Numbers, data_root=str(tmp_path), faults=faults)})

    plain = [mix(None)[draw] for draw in range(6)]
    number = [int(sample.sample_id.rsplit('/')[-1]) for sample in plain]
    changed = [mix({number[2]: nothing_visible, number[3]: nothing_visible})[draw] for draw in range(6)]
    wanted = [plain[i].sample_id for i in (0, 1, 4, 4, 4, 5)]
    assert [sample.sample_id for sample in changed] == wanted
    assert [len(sample.instead_of) for sample in changed] == [0, 0, 2, 1, 0, 0]
    skipped = collate_regions(changed)['batch'].skipped
    assert {record.sample_id for record in skipped} == {plain[2].sample_id, plain[3].sample_id}
    assert isinstance(mix({number[2]: broken})[2], BrokenRecord)
    # A dataset with nothing usable gives up, and does not look for ever.
    hopeless = mix(dict.fromkeys(range(40), nothing_visible))[0]
    assert hopeless.is_unusable
    assert len(hopeless.instead_of) == 20


def test_a_quarantined_record_is_not_read(tmp_path):
    mix = RegionMix({'numbers': dict(type=Numbers, data_root=str(tmp_path))})
    name = mix[5].sample_id
    mix.quarantined['numbers', name] = 'WorkerDied: SIGSEGV'
    assert mix[5] == BrokenRecord('numbers', name, 'WorkerDied: SIGSEGV')
    assert not isinstance(mix[6], BrokenRecord)
