"""A record that kills its reader in a validation is named and left out; the scores are of the rest."""

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric

from projects.mask_caption_sft.datasets import collate_regions
from projects.mask_caption_sft.datasets.mix import RegionConcat
from projects.mask_caption_sft.engine.training_runner import SafeRunner, TrainingRunner
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from tests.small_run import Numbers, OneWeight, small_config
from tests.test_engine.test_patient_batches import crash, out_of_memory, told_to_stop


class Predicts(OneWeight):
    """Predicts the names of what it was given."""

    def forward(self, batch, mode='loss'):
        return [batch.sample_ids] if mode == 'predict' else super().forward(batch, mode)


class Order(BaseMetric):
    """The records in the order in which they came; one list per validation."""

    validations: list[list[int]] = []

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        self.validations.append([int(name.rsplit('/', 1)[1]) for names in results for name in names])
        return {}


def validated(work_dir, faults, num_workers=1, batch_size=2, **loader):
    """Settings of a run that validates on ten records, of which some have faults."""
    records = dict(type=Numbers, data_root=str(work_dir.parent / 'numbers'), num_records=10, faults=faults)
    dataloader = dict(
        batch_size=batch_size, num_workers=num_workers, sampler=dict(type=DefaultSampler, shuffle=False),
        collate_fn=dict(type=collate_regions), dataset=dict(type=RegionConcat, datasets=dict(seen=records)),
        **loader,
    )  # fmt: skip
    Order.validations.clear()
    return {
        f'{stage}_{part}': value
        for stage in ('val', 'test')
        for part, value in (('dataloader', dataloader), ('cfg', {}), ('evaluator', dict(type=Order)))
    } | dict(model=dict(type=Predicts))


def runner_of(work_dir, faults, **loader):
    settings = validated(work_dir, faults, **loader)
    config = small_config(work_dir, hooks=[dict(type=SkipReportHook)])
    config.update(settings)
    return SafeRunner.from_cfg(config)


@pytest.mark.slow  # a death is noticed after up to five seconds
@pytest.mark.parametrize(
    ('stage', 'fault', 'deaths', 'loader'),
    [
        ('val', crash, 1, dict()),
        ('test', crash, 1, dict(num_workers=2, persistent_workers=True)),
        ('val', out_of_memory, 2, dict(num_workers=2, batch_size=3)),
    ],
)
def test_each_other_record_is_scored_once_and_the_next_time_nothing_dies(
    tmp_path, capsys, stage, fault, deaths, loader
):
    runner = runner_of(tmp_path / 'run', {5: fault}, **loader)
    getattr(runner, stage)()
    said = capsys.readouterr().out
    assert said.count('A worker died (SIG') == deaths
    assert f'while it read seen {tmp_path}/numbers/5. The record is left out from now on' in said
    assert f'skipped seen {tmp_path}/numbers/5: WorkerDied: SIG' in said
    assert 'These scores are without 1 record(s) that could not be read.' in said
    getattr(runner, f'{stage}_loop').run()
    assert 'A worker died' not in capsys.readouterr().out
    assert Order.validations == [[0, 1, 2, 3, 4, 6, 7, 8, 9]] * 2


@pytest.mark.slow
def test_a_resumed_run_does_not_meet_it_again(tmp_path, capsys):
    def train(max_iters, **changes):
        config = small_config(tmp_path / 'run', max_iters, hooks=[dict(type=SkipReportHook)], **changes)
        config.update(validated(tmp_path / 'run', {5: crash}))
        config.train_cfg.val_interval = 1
        TrainingRunner.from_cfg(config).train()
        return capsys.readouterr().out.count('A worker died (SIG')

    assert train(2) == 1
    assert train(4, resume=True) == 0
    assert Order.validations == [[0, 1, 2, 3, 4, 6, 7, 8, 9]] * 2


@pytest.mark.slow
def test_workers_that_die_whatever_they_read_end_it_with_the_mend(tmp_path):
    runner = runner_of(tmp_path / 'run', dict.fromkeys(range(10), told_to_stop))
    with pytest.raises(RuntimeError, match=r'died 6 times in a row, .*Lower val_dataloader\.num_workers'):
        runner.val()
