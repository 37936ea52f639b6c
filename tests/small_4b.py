"""A 4B config's own run on a miniature.

Overrides are for size only, and for a CPU: an untouched setting that changes in the config changes here too.
"""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper

from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.engine.training_runner import TrainingRunner
from tests.miniature import bfloat16_base, miniature_sample


class Images(RegionDataset):
    """Three tiles and two regions without a text, or one tile and one region with a text, in turn."""

    def list_records(self):
        return [{'sample_id': str(i), 'number': i} for i in range(24)]

    def read_record(self, record):
        number = record['number']
        texts, tiles = (['a red shirt.'], 1) if number % 2 else ([None, None], 3)
        return miniature_sample(record['sample_id'], texts, self.name, seed=number, num_tiles=tiles)


def small_4b(name: str, work_dir: Path, num_iters: int, hook: type[Hook]) -> Config:
    """The config ``configs/{name}.py``, for so many iterations on :class:`Images`."""
    config = Config.fromfile(f'configs/{name}.py', format_python_code=False)
    config.model.sa2va.update(base=str(bfloat16_base()))
    config.model.sa2va.lora.update(r=4, lora_alpha=8)
    config.model.update(max_caption_len=6)
    config.model.segmentation_losses.update(num_points=256)
    work_dir.mkdir()
    images = dict(type=Images, data_root=str(work_dir), pipeline=[])
    config.train_dataloader.dataset.datasets = dict(images=images)
    config.train_dataloader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    config.train_cfg.update(max_epochs=None, max_iters=num_iters)
    config.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    config.update(test_dataloader=None, test_cfg=None, test_evaluator=None)
    config.custom_hooks.append(dict(type=hook))
    config.work_dir = str(work_dir)
    return config


def run_small_4b(config: Config) -> TrainingRunner:
    """The Runner, after its run."""
    with pytest.MonkeyPatch.context() as patch:
        # All that MMEngine's wrapper looks at before it accepts a device; its scaler is off without a GPU.
        patch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
        runner = TrainingRunner.from_cfg(config)
        runner.train()
    return runner
