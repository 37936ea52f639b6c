"""Logging, checkpoints, seed, distributed settings."""

from mmengine.hooks import (
    DistSamplerSeedHook,
    EarlyStoppingHook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
)
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend

from projects.mask_caption_sft.engine.short_lines import ShortLines
from projects.mask_caption_sft.hooks.cheat_watch_hook import CheatWatchHook
from projects.mask_caption_sft.hooks.host_memory_hook import HostMemoryHook
from projects.mask_caption_sft.hooks.iter_seed_hook import IterSeedHook
from projects.mask_caption_sft.hooks.resume_settings_hook import ResumeSettingsHook
from projects.mask_caption_sft.hooks.run_record_hook import RunRecordHook
from projects.mask_caption_sft.hooks.stop_signal_hook import StopSignalHook
from projects.mask_caption_sft.hooks.trained_checkpoint_hook import TrainedCheckpointHook
from projects.mask_caption_sft.hooks.update_guard_hook import UpdateGuardHook
from projects.mask_caption_sft.visualization.forgiving_visualizer import ForgivingVisualizer

default_scope = 'mmengine'
default_hooks = dict(
    runtime_info=dict(type='RuntimeInfoHook'),
    timer=dict(type=IterTimerHook),
    sampler_seed=dict(type=DistSamplerSeedHook),
    iter_seed=dict(type=IterSeedHook),
    resume_settings=dict(type=ResumeSettingsHook),
    host_memory=dict(type=HostMemoryHook),
    param_scheduler=dict(type=ParamSchedulerHook),
    update_guard=dict(type=UpdateGuardHook, max_in_row=10),
    logger=dict(type=LoggerHook, interval=10, log_metric_by_epoch=False),
    checkpoint=dict(
        type=TrainedCheckpointHook,
        interval_updates=1000,
        max_keep_ckpts=3,
        save_best='mask_cycle/second_view_iou',
        rule='greater',
    ),
    stop_signal=dict(type=StopSignalHook),
    # Warns once per sign. stop=['shuffled', 'blank'], for one, also ends the run there.
    cheat_watch=dict(
        type=CheatWatchHook,
        shuffled_ratio=0.8,
        blank_ratio=0.8,
        top_caption_share=0.8,
        shrunk_ratio=0.5,
        cut_ratio=0.5,
        window=20,
        stop=[],
    ),
    run_record=dict(type=RunRecordHook),
    # Off unless `patience`, in validations without a better score, is lowered.
    early_stopping=dict(
        type=EarlyStoppingHook, monitor='mask_cycle/second_view_iou', rule='greater', patience=1000
    ),
)
# Everything is in the log file, scalars.json and TensorBoard, below train/ and val/; a line of it is printed.
log_processor = dict(type=ShortLines, by_epoch=False, window_size=10)
visualizer = dict(
    type=ForgivingVisualizer, vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)]
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    # Seconds that a rank waits for another one, in gloo groups too, before the run ends with an error. Longer
    # than the slowest thing that ranks do unequally: listing the datasets, and saving a checkpoint.
    dist_cfg=dict(backend='nccl', timeout=1800),
)
# Heads that no loss reaches (SAM 2's object score) take no gradient on any rank.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', find_unused_parameters=True)
randomness = dict(seed=0, deterministic=False)
log_level = 'INFO'
load_from = None
resume = False
launcher = 'none'
