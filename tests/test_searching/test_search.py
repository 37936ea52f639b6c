"""A search over settings, with a script in the place of a training run."""

import sys
from pathlib import Path

import pytest
from mmengine.config import Config

optuna = pytest.importorskip('optuna', reason='the search is an extra: requirements-search.txt')

from projects.mask_caption_sft.searching import trial as trial_module
from projects.mask_caption_sft.searching.results import importances, plot_importances, trials_table
from projects.mask_caption_sft.searching.search import search
from projects.mask_caption_sft.searching.space import read_space
from tests.workplace import CONFIG

#: Validates at once with a score that depends on lr: 1 - lr. With lr > 0.9 it fails. With the word "wait" in
#: its command and lr > 0.5 it then goes on until it is told to stop.
RUN = """
import json, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1]) / '1' / 'vis_data'
folder.mkdir(parents=True)
lr = float(next(a for a in sys.argv if a.startswith('lr=')).removeprefix('lr='))
if lr > 0.9:
    sys.exit(3)
rows = [{'cycle/iou': 0.9, 'step': 0}, {'cycle_given/iou': 1 - lr, 'step': 5}]
(folder / 'scalars.json').write_text('\\n'.join(map(json.dumps, rows)))
if 'wait' in sys.argv and lr > 0.5:
    signal.signal(signal.SIGTERM, lambda *args: (folder / 'told').touch() or sys.exit(75))
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Searches with the script; returns the study."""
    monkeypatch.setattr(trial_module, 'LOOK_EVERY', 0.05)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (tmp_path / 'run.py').write_text(RUN)

    def call(space, num_trials, *words, **settings):
        train = [sys.executable, str(tmp_path / 'run.py'), *words]
        return search(
            space, train, ['a=1'], tmp_path, f'sqlite:///{tmp_path}/study.db', 'cycle/iou', num_trials,
            **settings,
        )  # fmt: skip

    return call


def test_the_best_trial_has_the_best_validation_and_its_settings(run, tmp_path):
    study = run({'lr': [0.1, 0.4], 'k': dict(low=2, high=8)}, 3)
    assert study.best_value == pytest.approx(1 - study.best_params['lr'])
    assert all(isinstance(trial.params['k'], int) for trial in study.trials)
    table = trials_table(study).splitlines()
    assert table[0] == '| trial | state | score | k | lr |'
    assert table[2].startswith(f'| {study.best_trial.number} | complete | {study.best_value:.4g} |')
    assert len(table) == 5
    assert (tmp_path / 'trial_0002' / 'output.txt').is_file()


def test_a_search_goes_on_where_it_stopped(run):
    assert len(run({'lr': [0.1, 0.4]}, 2).trials) == 2
    assert len(run({'lr': [0.1, 0.4]}, 3).trials) == 3
    assert len(run({'lr': [0.1, 0.4]}, 3).trials) == 3


def test_a_poor_trial_is_told_to_stop_and_saves(run, tmp_path):
    study = run({'lr': dict(low=0.05, high=0.1)}, 3)
    study.enqueue_trial({'lr': 0.8})
    study = run({'lr': dict(low=0.05, high=0.85)}, 4, 'wait', num_startup=1)
    assert study.trials[-1].state.name == 'PRUNED'
    assert (tmp_path / 'trial_0003' / '1' / 'vis_data' / 'told').is_file()


def test_a_trial_that_fails_does_not_end_the_search(run, tmp_path):
    study = run({'lr': dict(low=0.05, high=0.1)}, 1)
    study.enqueue_trial({'lr': 0.95})
    states = [trial.state.name for trial in run({'lr': dict(low=0.05, high=0.95)}, 3, jobs=1).trials]
    assert states[1] == 'FAIL'
    assert len(states) == 3


def test_another_space_needs_another_study(run):
    run({'lr': [0.1]}, 1)
    with pytest.raises(ValueError, match=r'study\.db holds trials of another space .*\. Give another --out'):
        run({'lr': dict(low=0.1, high=0.2)}, 2)


def test_if_all_fail_it_is_said_where_to_look(run):
    with pytest.raises(ValueError, match=r'Every trial has failed\. See \S+output\.txt'):
        run({'lr': [0.95]}, 2)


def test_trials_run_at_once(run):
    # All are as good: of better and worse ones the order in which they end decides which are pruned.
    study = run({'lr': [0.1], 'other': dict(low=0.0, high=1.0)}, 6, jobs=3)
    assert [trial.state for trial in study.trials] == 6 * [optuna.trial.TrialState.COMPLETE]


def test_what_decides_is_important_and_is_drawn(tmp_path):
    study = optuna.create_study(direction='maximize')
    space = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in ('lr', 'other')}
    for number in range(25):
        values = {'lr': number % 5 / 4, 'other': number // 5 / 4}
        score = 1 - values['lr'] + 0.01 * values['other']
        study.add_trial(optuna.trial.create_trial(params=values, distributions=space, value=score))
    found = importances(study)
    assert list(found) == ['lr', 'other']
    plot_importances(found, tmp_path / 'importance.png')
    assert (tmp_path / 'importance.png').stat().st_size > 1000
    assert importances(optuna.create_study()) == {}


def test_the_declared_space_is_checked_against_the_config():
    config = Config.fromfile(Path(str(CONFIG).replace('tiny.py', 'tiny_search.py')), format_python_code=False)
    assert read_space(config).keys() >= {'optim_wrapper.optimizer.lr', 'model.num_captions'}
    config.search_space = {'optim_wrapper.optimizer.lrr': dict(low=0.1, high=0.2)}
    with pytest.raises(ValueError, match=r'search_space: .*nearest existing key is optim_wrapper\.'):
        read_space(config)
    config.search_space = {'optim_wrapper.optimizer.lr': dict(low=0.3, high=0.2)}
    with pytest.raises(ValueError, match='Give a list of choices, or dict'):
        read_space(config)
    config.search_space = None
    with pytest.raises(ValueError, match='declares no search_space'):
        read_space(config)
