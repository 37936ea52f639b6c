"""A rehearsal does what the run will do, and leaves everything as it was."""

import fcntl
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.evaluator import BaseMetric

from projects.mask_caption_sft.datasets.mix import RegionConcat
from projects.mask_caption_sft.engine.start_plan import StartRefusedError
from projects.mask_caption_sft.engine.work_dir import lock_work_dir
from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook
from projects.mask_caption_sft.hooks.val_before_train_hook import ValBeforeTrainHook
from projects.mask_caption_sft.preflight import costs, rehearsal
from projects.mask_caption_sft.preflight.parts import size_problems
from projects.mask_caption_sft.preflight.rehearsal import RehearsalHook, RehearsalRunner, rehearsal_config
from projects.mask_caption_sft.sa2va.base_sizes import BaseSizes
from tests.miniature import miniature_sample
from tests.small_run import Numbers, OneWeight, Seen, small_config, small_run
from tests.two_ranks import run_two_ranks


class Predicts(OneWeight):
    """Counts the batches of its validations."""

    seen: list[list[str]] = []

    def forward(self, batch, mode='loss'):
        if mode == 'predict':
            self.seen.append(list(batch.sample_ids))
            return [0]
        return super().forward(batch, mode)


class Score(BaseMetric):
    """One score, of one name."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return {'score': float(len(results))}


def rehearse(config) -> tuple[RehearsalRunner, RehearsalHook]:
    runner, hook = RehearsalRunner.from_cfg(rehearsal_config(config)), RehearsalHook()
    runner.register_hook(hook)
    runner.train()
    return runner, hook


def files(folder: Path) -> dict[str, bytes]:
    """Of a run, without its lock and without what a rehearsal has written."""
    found = [
        p for p in folder.rglob('*') if p.is_file() and rehearsal.FOLDER not in p.parts and p.name != '.lock'
    ]
    return {str(path): path.read_bytes() for path in found}


def with_validation(config, **checkpoint):
    """Two datasets of 7 and 1 records, in batches of 2."""
    root = config.train_dataloader.dataset.datasets.numbers.data_root
    sets = {
        name: dict(type=Numbers, data_root=root, num_records=count) for name, count in (('a', 7), ('b', 1))
    }
    loader = dict(
        batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=config.train_dataloader.collate_fn, dataset=dict(type=RegionConcat, datasets=sets),
    )  # fmt: skip
    config.update(val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(type=Score))
    config.model.type = Predicts
    config.default_hooks.checkpoint.update(checkpoint)
    config.custom_hooks.append(dict(type=ValBeforeTrainHook))
    return config


def test_one_update_one_checkpoint_and_one_batch_of_each_dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(Predicts, 'seen', [])
    config = with_validation(
        small_config(tmp_path / 'run', 1000, accumulative_counts=3), save_best='score', rule='greater'
    )
    runner, hook = rehearse(config)
    assert (runner.iter, len(Seen.runs[-1].ids)) == (3, 3)
    # The first two of `a` and the only one of `b`, once: not before training, and not all eight.
    assert [[name.rsplit('/', 1)[1] for name in ids] for ids in Predicts.seen] == [['0', '1'], ['0']]
    assert hook.found.checkpoint_bytes > 1000
    assert hook.found.seconds > 0
    written = {path.name for path in (tmp_path / 'run' / rehearsal.FOLDER).glob('*.pth')}
    assert written == {'iter_3.pth', 'best_score_iter_3.pth'}
    assert files(tmp_path / 'run') == {}


def test_what_would_teach_in_a_part_of_the_run_only_teaches_in_the_rehearsals_one_update(tmp_path):
    config = small_config(tmp_path / 'run', 1000)
    config.model.periods = dict(near_start=(0.5, 1.0))
    assert rehearsal_config(config).model.periods is None
    assert config.model.periods == dict(near_start=(0.5, 1.0))


def test_a_metric_that_is_waited_for_and_not_measured_is_found(tmp_path):
    config = with_validation(small_config(tmp_path / 'run', 1000), save_best='other', rule='greater')
    with pytest.raises(ValueError, match=r"save_best='other' is not among the metrics \['score'\]"):
        rehearse(config)


def test_a_resume_is_rehearsed_from_the_runs_own_checkpoint_which_stays_as_it_is(run_of_two):
    before = files(run_of_two)
    runner, _ = rehearse(small_config(run_of_two, 8, resume=True))
    assert runner.iter == 3
    assert Seen.runs[-1].ids == small_run(run_of_two.parent / 'whole', 3)[1].ids[2:]
    assert files(run_of_two) == before


def test_starting_over_is_rehearsed_without_moving_anything(run_of_two):
    before = files(run_of_two)
    runner, _ = rehearse(small_config(run_of_two, 8, start_over=True))
    assert runner.iter == 1
    assert files(run_of_two) == before
    with pytest.raises(StartRefusedError, match=r'already holds iter_2\.pth'):
        rehearse(small_config(run_of_two, 8))


def test_a_run_that_is_complete_has_nothing_to_rehearse(run_of_two):
    with pytest.raises(
        ValueError, match='no update left: the checkpoint is of iteration 2 and the run ends at 2'
    ):
        rehearse(small_config(run_of_two, 2, resume=True))


def test_an_update_that_is_refused_is_a_problem(tmp_path):
    losses = dict.fromkeys(range(40), float('nan'))
    with pytest.raises(ValueError, match='the first update was refused: the loss is not finite'):
        rehearse(small_config(tmp_path / 'run', 8, losses=losses))


def test_what_a_killed_rehearsal_has_left_is_not_in_the_way(tmp_path):
    stale = tmp_path / 'run' / rehearsal.FOLDER
    stale.mkdir(parents=True)
    (stale / 'iter_7.pth').write_text('half a file')
    rehearse(small_config(tmp_path / 'run', 8))
    assert not (stale / 'iter_7.pth').exists()


def test_a_checkpoint_that_reads_back_otherwise_is_found(tmp_path, monkeypatch):
    read = rehearsal.read_checkpoint

    def wrong(path, mmap):
        content = read(path, mmap=mmap)
        content['state_dict']['student.bias'] += 1
        return content

    monkeypatch.setattr(rehearsal, 'read_checkpoint', wrong)
    with pytest.raises(ValueError, match=r'iter_1\.pth does not give student\.bias back as it was written'):
        rehearse(small_config(tmp_path / 'run', 8))


def disk(free: int, monkeypatch, **hook) -> tuple[list[str], list[str]]:
    monkeypatch.setattr(costs.shutil, 'disk_usage', lambda folder: SimpleNamespace(free=free))
    checkpoint = TrainedCheckpointHook(**hook)
    runner = SimpleNamespace(hooks=[checkpoint], max_iters=1000)
    problems: list[str] = []
    lines = costs.disk_lines(runner, Path('run'), rehearsal.Rehearsed(1.0, 2**30), problems)
    return lines, problems


def test_the_disk_has_to_hold_the_checkpoints_that_are_kept_the_best_and_a_new_one(monkeypatch):
    settings = dict(max_keep_ckpts=3, save_best='score', rule='greater')
    lines, problems = disk(5 * 2**30, monkeypatch, **settings)
    assert (lines, problems) == (['disk: 5 checkpoints of 1 GiB at most, of 5 GiB free'], [])
    _, problems = disk(5 * 2**30 - 1, monkeypatch, **settings)
    assert problems[0].startswith('5 checkpoints of 1 GiB need 5.0 GiB and run has 5.0 free. Lower default')
    # All that are ever saved, where none is deleted.
    assert disk(2**40, monkeypatch, interval_updates=100)[0][0].startswith('disk: 11 checkpoints')


def test_a_sample_of_other_sizes_than_the_models_is_named_with_all_of_them():
    sample = miniature_sample('record 5', [None])
    fits = BaseSizes(image_size=56, grid_size=2, grounding_size=128, max_context=100, mask_size=32)
    assert size_problems({'key': sample}, fits) == []
    other = BaseSizes(image_size=168, grid_size=6, grounding_size=128, max_context=100, mask_size=32)
    (problem,) = size_problems({'key': sample}, other)
    assert problem.startswith(
        'key: view 1 of record 5 has image_size 56 instead of 168, grid_size 2 instead of 6, the size of the'
    )


def test_a_work_dir_that_another_process_holds_is_refused(tmp_path, monkeypatch):
    (tmp_path / 'run').mkdir()
    lock = lock_work_dir(tmp_path / 'run')

    def held(file, flags):
        if flags & fcntl.LOCK_SH:  # as the rehearsal asks; its own folder is free
            raise BlockingIOError

    monkeypatch.setattr('projects.mask_caption_sft.engine.work_dir.fcntl.lockf', held)
    with pytest.raises(
        StartRefusedError, match=r'/run is in use by process .* give this one another --work-dir'
    ):
        rehearse(small_config(tmp_path / 'run', 8))
    lock.close()


def _rehearse_on_a_rank(rank: int, folder: str) -> None:
    config = with_validation(small_config(Path(folder) / 'run', 100, launcher='pytorch'))
    runner, _ = rehearse(config)
    (Path(folder) / f'rank{rank}').write_text(f'{runner.iter} {sum(map(len, Predicts.seen))}')


@pytest.mark.slow
def test_two_processes_rehearse_together(tmp_path):
    run_two_ranks(_rehearse_on_a_rank, tmp_path)
    # Five records of validation: two batches of two of `a`, the only one of `b`.
    found = sorted((tmp_path / f'rank{rank}').read_text() for rank in (0, 1))
    assert found == ['1 2', '1 3']
    assert list((tmp_path / 'run' / rehearsal.FOLDER).glob('iter_1.pth'))
