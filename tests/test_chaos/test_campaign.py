"""Faults on a training of milliseconds, and on trainings that do lose something: those have to be caught."""

import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from projects.mask_caption_sft.chaos.campaign import Campaign
from projects.mask_caption_sft.chaos.faults import (
    FAULTS,
    damaged,
    full_disk,
    hostile,
    kills,
    not_finite,
    ranks,
    signals,
)
from projects.mask_caption_sft.chaos.quick_start import import_ahead
from projects.mask_caption_sft.chaos.run import Log
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint
from projects.mask_caption_sft.engine import start_plan
from projects.mask_caption_sft.engine.guarded_step import GuardedStep
from projects.mask_caption_sft.tiny_world.world import TRAINED_BASE, write_world
from tests.small_chaos import SmallMain, launched_training, small_training
from tests.workplace import CONFIG


@pytest.fixture(scope='module', autouse=True)
def _quick_starts():
    import_ahead(CONFIG)


TABLE = [
    'kill', 'save', 'signal', 'nan', 'weight', 'disk', 'cut', 'empty', 'missing', 'flipped', 'another_file',
    'pointer_empty', 'pointer_gone', 'pointer_to_nowhere', 'checkpoint', 'base', 'dataset', 'killed_rank',
    'frozen_rank',
]  # fmt: skip


def campaign_of(folder, num_kills=2, main=None, updates=16):
    return Campaign(small_training(folder / 'place', updates, main), folder, seed=3, kills=num_kills)


def test_the_faults_are_these():
    assert list(FAULTS) == TABLE


@pytest.mark.slow
@pytest.mark.parametrize(
    'fault', [kills.at_random_moments, kills.in_each_step_of_a_save, signals.each_signal]
)
def test_a_run_that_is_stopped_by_force_or_by_word_loses_nothing(tmp_path, fault):
    (outcome,) = fault(campaign_of(tmp_path, main=SmallMain(seconds=0.1)))
    assert outcome.is_good, outcome
    assert outcome.equal
    wanted = {kills.at_random_moments: 2, kills.in_each_step_of_a_save: 12, signals.each_signal: 3}
    assert outcome.times == wanted[fault]


@pytest.mark.parametrize('way', damaged.WAYS)
def test_a_damaged_newest_checkpoint_costs_at_most_one_interval(tmp_path, way):
    (outcome,) = damaged.newest_checkpoint(campaign_of(tmp_path, updates=8), way)
    assert outcome.is_good, outcome
    assert outcome.lost_updates == (2 if way in damaged.OF_THE_FILE else 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('fault', 'wanted'),
    [
        (not_finite.refused, ['NaN in the loss', 'NaN in the gradient', 'NaN in the input']),
        (not_finite.spoiled_weight, ['NaN in a weight']),
        (
            hostile.checkpoints,
            ['hostile checkpoint: config that runs', 'hostile checkpoint: pickle that runs'],
        ),
    ],
)
def test_nothing_that_is_not_finite_or_hostile_gets_into_a_run(tmp_path, fault, wanted):
    outcomes = fault(campaign_of(tmp_path, updates=8))
    assert [outcome.fault for outcome in outcomes] == wanted
    for outcome in outcomes:
        assert outcome.is_good, outcome
        assert outcome.equal


@pytest.mark.slow
def test_a_full_disk_at_a_save_costs_at_most_one_interval(tmp_path):
    (outcome,) = full_disk.at_a_save(campaign_of(tmp_path, main=SmallMain(seconds=0.3), updates=8))
    assert outcome.is_good, outcome
    assert outcome.equal


@pytest.mark.slow
def test_a_hostile_base_is_refused_and_the_run_goes_on_with_the_honest_one(tmp_path):
    campaign = campaign_of(tmp_path, updates=8)
    shutil.copytree(TRAINED_BASE, tmp_path / 'place' / 'data' / 'tiny_world' / 'sa2va_tiny')
    for outcome in hostile.bases(campaign):
        assert outcome.is_good, outcome
        assert outcome.equal


@pytest.mark.slow
def test_hostile_datasets_are_named_and_skipped_or_refused(tmp_path):
    campaign = campaign_of(tmp_path, main=SmallMain(world=True))
    write_world(tmp_path / 'place' / 'data' / 'tiny_world', num_train=4, num_val=1)
    records, refs = hostile.datasets(campaign)
    assert records.is_good, records
    assert records.times == 4
    assert refs.is_good, refs


@pytest.mark.slow
def test_a_killed_rank_is_started_again_by_its_launcher(tmp_path):
    campaign = Campaign(launched_training(tmp_path / 'place', updates=16, seconds=0.4), tmp_path)
    (outcome,) = ranks.killed_rank(campaign)
    assert outcome.is_good, outcome
    assert outcome.equal


@pytest.mark.slow
def test_a_frozen_rank_ends_the_run_after_the_time_out_of_the_config(tmp_path, monkeypatch):
    """Without one the others waited for gloo's half hour."""
    monkeypatch.setattr(ranks, '_TIMEOUT', 40)
    campaign = Campaign(launched_training(tmp_path / 'place', updates=16, seconds=0.4), tmp_path)
    (outcome,) = ranks.frozen_rank(campaign)
    assert outcome.is_good, outcome
    assert outcome.equal


# ---------------------------------------------------------------- trainings that lose something


class Drifts(Hook):
    """A resumed run is not exactly the one before."""

    def before_train(self, runner):
        if runner.iter > 0:
            runner.model.teacher.bias.data += 1e-4


class SavesNothingAtASignal(Hook):
    """Ends with the right code, and without a checkpoint."""

    priority = 'LOWEST'

    def before_train(self, runner):
        for name in signals.NAMES:
            signal.signal(getattr(signal, name), lambda *_: exec('raise SystemExit(75)'))


def test_one_tensor_that_is_not_what_was_saved_is_named(tmp_path):
    campaign = campaign_of(tmp_path, main=SmallMain((dict(type=Drifts),)), updates=8)
    (outcome,) = damaged.newest_checkpoint(campaign, damaged.WAYS[0])
    assert not outcome.is_good
    assert outcome.equal is False
    assert 'state_dict.teacher.bias' in outcome.problems[0]


@pytest.mark.slow
def test_a_signal_after_which_nothing_was_saved_is_seen(tmp_path):
    (outcome,) = signals.each_signal(
        campaign_of(tmp_path, main=SmallMain((dict(type=SavesNothingAtASignal),), 0.1))
    )
    assert outcome.lost_updates > 0 == outcome.allowed_updates
    assert not outcome.is_good


def test_a_resume_that_passes_over_a_whole_checkpoint_is_seen(tmp_path, monkeypatch):
    """It ends with the same weights, only later: no comparison of these would notice."""
    newest = start_plan.resumable
    monkeypatch.setattr(start_plan, 'resumable', lambda folder: newest(folder)[1:])
    (outcome,) = damaged.newest_checkpoint(campaign_of(tmp_path, updates=8), damaged.WAYS[-1])
    assert outcome.equal
    assert 'went on from iteration 8, not 12' in outcome.problems[0]
    assert not outcome.is_good


def test_an_update_of_nan_that_is_made_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(GuardedStep, '_judge', lambda wrapper: None)
    with pytest.raises(RuntimeError, match=r'(?s)undisturbed run ended with \[1\].* tensors are not finite'):
        not_finite.refused(campaign_of(tmp_path, updates=8))


def test_a_checkpoint_whose_config_was_executed_is_seen(tmp_path):
    class Executes(Hook):
        """As MMEngine's own resume does, in effect."""

        def before_train(self, runner):
            for path in Path(runner.work_dir).glob('iter_*.pth'):
                with suppress(SyntaxError):  # an honest config's text, which is no program
                    exec(read_checkpoint(path)['meta']['cfg'])

    main = SmallMain((dict(type=Executes),))
    runs, _ = hostile.checkpoints(campaign_of(tmp_path, main=main, updates=8))
    assert 'code in the file was executed' in runs.problems[0]


def test_a_run_that_ends_with_an_error_has_not_recovered(tmp_path):
    class Fails:
        def __init__(self):
            self.train = SmallMain()

        def __call__(self):
            self.train()
            raise SystemExit(3)

    campaign = campaign_of(tmp_path, updates=8)
    campaign.reference()
    campaign.training = small_training(tmp_path / 'place', 8, Fails())
    (outcome,) = damaged.newest_checkpoint(campaign, damaged.WAYS[-1])
    assert (outcome.times, outcome.recovered) == (1, 0)
    assert 'ended with [3], not 0' in outcome.problems[0]


def test_an_undisturbed_run_that_fails_ends_the_campaign(tmp_path):
    def main():
        raise SystemExit('error: no base')

    with pytest.raises(RuntimeError, match=r'undisturbed run ended with \[1\]: error: no base'):
        campaign_of(tmp_path, main=main).reference()


def test_what_a_log_says_of_each_start_in_it(tmp_path):
    log = Log(tmp_path / 'log')
    assert (log.legs, log.updates) == ([], 0)
    log.path.write_text(
        '11/28 12:00 - mmengine - WARNING\n  iteration  loss\n       1/32  1.2\n       2/32  0.7\n'
    )
    assert (log.legs, log.updates) == ([(0, 2)], 1)
    with log.path.open('a') as file:
        file.write('Going on from /x/iter_2.pth.\nGoing on from /x/iter_2.pth.\n       5/32   0.2\n')
    assert (log.legs, log.updates) == ([(0, 2), (2, 2), (2, 5)], 1.5)
