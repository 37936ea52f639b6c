"""A whole run, real but for a model of one weight: seconds become milliseconds."""

import itertools
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook, IterTimerHook, ParamSchedulerHook
from mmengine.model import BaseModel
from mmengine.optim import LinearLR

from projects.mask_caption_sft.datasets import RegionMix, collate_regions
from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.datasets.mix import DrawSampler
from projects.mask_caption_sft.engine.guarded_step import GuardedOptimWrapper
from projects.mask_caption_sft.engine.loops import DrawTrainLoop
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from projects.mask_caption_sft.hooks.iter_seed_hook import IterSeedHook
from projects.mask_caption_sft.hooks.resume_settings_hook import ResumeSettingsHook
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook
from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook
from projects.mask_caption_sft.hooks.update_guard_hook import UpdateGuardHook
from projects.mask_caption_sft.loop.data_preprocessor import RegionDataPreprocessor
from tests.miniature import miniature_sample

#: MMEngine's logs of two runs of one name, within a second, would be one.
_RUNS = itertools.count()


class Numbers(RegionDataset):
    """Records 0, 1, 2, ...; ``faults`` maps some of them to what reading them does."""

    def __init__(self, data_root, num_records=40, faults=None, **kwargs):
        self.num_records, self.faults = num_records, faults or {}
        super().__init__(data_root=data_root, **kwargs)

    def list_records(self):
        return [{'sample_id': f'{self.data_root}/{i}', 'number': i} for i in range(self.num_records)]

    def read_record(self, record):
        fault = self.faults.get(record['number'])
        if fault is not None:
            fault()
        return miniature_sample(record['sample_id'], [None], self.name, seed=record['number'])


class OneWeight(BaseModel):
    """Student and teacher of one weight; the loss of record n pulls the weight towards n / 100.

    ``losses`` replaces the factor of the loss of some records, NaN for one.
    """

    def __init__(self, losses: dict[int, float] | None = None) -> None:
        super().__init__(dict(type=RegionDataPreprocessor))
        self.losses = losses or {}
        self.student, self.teacher = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        for part in (self.student, self.teacher):
            torch.nn.init.constant_(part.weight, 1.0)
            torch.nn.init.constant_(part.bias, 0.0)
            part.base = part.base_fingerprint = part.lora_scaling = None
        self.teacher.requires_grad_(False)

    def forward(self, batch, mode='loss'):
        numbers = [int(name.rsplit('/', 1)[1]) for name in batch.sample_ids]
        factors = torch.tensor([self.losses.get(number, 1.0) for number in numbers])
        wanted = torch.tensor(numbers) / 100
        found = self.student(torch.ones(len(numbers), 1))[:, 0]
        return {'loss': ((found - wanted).square() * factors).sum() / max(1, len(numbers))}


class Seen(Hook):
    """What each iteration of a run was given, and its learning rate."""

    runs: list['Seen'] = []

    def __init__(self) -> None:
        self.ids, self.rates = [], []
        Seen.runs.append(self)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.ids.append([name.rsplit('/', 1)[1] for name in data_batch['batch'].sample_ids])
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])


def small_config(work_dir: Path, max_iters: int | None = 8, **changes: Any) -> Config:
    """Settings of a run; ``changes`` in the form ``losses=``, ``batch_size=``, ``resume=`` ..."""
    if changes.get('launcher') == 'pytorch':
        os.environ.setdefault('LOCAL_RANK', str(get_rank()))
    data_root = work_dir.parent / 'numbers'
    data_root.mkdir(parents=True, exist_ok=True)
    records = dict(
        type=Numbers, data_root=str(data_root),
        num_records=changes.pop('num_records', 40), faults=changes.pop('faults', None),
    )  # fmt: skip
    batch_size, hooks = changes.pop('batch_size', 1), changes.pop('hooks', [])
    epochs = changes.pop('max_epochs', None)
    length = dict(max_iters=max_iters) if epochs is None else dict(max_epochs=epochs)
    wrapper = dict(
        type=GuardedOptimWrapper, optimizer=dict(type=torch.optim.AdamW, lr=0.01),
        accumulative_counts=changes.pop('accumulative_counts', 1), clip_grad=dict(max_norm=1.0),
        spike_threshold=changes.pop('spike_threshold', None),
    )  # fmt: skip
    checkpoint = dict(type=TrainedCheckpointHook, **{'interval_updates': 1, **changes.pop('checkpoint', {})})
    return Config(
        dict(
            model=dict(type=OneWeight, losses=changes.pop('losses', None)),
            work_dir=str(work_dir),
            train_dataloader=dict(
                batch_size=batch_size, num_workers=changes.pop('num_workers', 0),
                persistent_workers=changes.pop('persistent_workers', False),
                sampler=dict(type=DrawSampler), collate_fn=dict(type=collate_regions),
                dataset=dict(type=RegionMix, datasets=changes.pop('datasets', dict(numbers=records)), seed=0),
            ),
            train_cfg=dict(type=DrawTrainLoop, **length),
            optim_wrapper=wrapper,
            param_scheduler=[dict(type=LinearLR, start_factor=0.1, by_epoch=False, end_ratio=1.0)],
            default_hooks=dict(
                timer=dict(type=IterTimerHook), iter_seed=dict(type=IterSeedHook),
                resume_settings=dict(type=ResumeSettingsHook), param_scheduler=dict(type=ParamSchedulerHook),
                update_guard=dict(type=UpdateGuardHook, max_in_row=changes.pop('max_in_row', 10)),
                logger=None, checkpoint=checkpoint,
            ),
            custom_hooks=[dict(type=TeacherEMAHook, momentum=0.1), dict(type=Seen), *hooks],
            model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None),
            randomness=dict(seed=0),
            default_scope='mmengine',
            experiment_name=f'small_{next(_RUNS)}',
            **changes,
        ),
        format_python_code=False,
    )  # fmt: skip


def small_run(work_dir: Path, max_iters: int | None = 8, **changes: Any) -> tuple[TrainingRunner, Seen]:
    """Train; returns the runner afterwards and what its iterations saw."""
    runner = TrainingRunner.from_cfg(small_config(work_dir, max_iters, **changes))
    runner.train()
    return runner, Seen.runs[-1]
