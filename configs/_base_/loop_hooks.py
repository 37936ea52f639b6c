"""Hooks of the loop: the teacher's steps, skipped records, samples drawn into the log, a sharded base."""

from projects.mask_caption_sft.hooks.equal_passes_hook import EqualPassesHook
from projects.mask_caption_sft.hooks.sample_log_hook import SampleLogHook
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.hooks.teacher_ema_hook import TeacherEMAHook

custom_hooks = [
    # A decay of 0.999: the teacher averages some thousand updates, so it is slow to follow a code that the
    # student makes up. Frozen (momentum 0), it taught as much on the tiny world (docs/results.md).
    dict(type=TeacherEMAHook, momentum=0.001),
    dict(type=SkipReportHook, max_broken_ratio=0.05),
    dict(type=SampleLogHook),
    dict(type=EqualPassesHook),
]
