"""A run is judged in words, by its first and last validation."""

from pathlib import Path

import pytest

from projects.mask_caption_sft.loop.cheat_signs import CheatLimits
from projects.mask_caption_sft.reporting.run_log import RunLog
from projects.mask_caption_sft.reporting.verdict import verdict

BEFORE = {
    'mask_cycle/second_view_iou': 0.40, 'mask_cycle/shuffled_iou': 0.15, 'mask_cycle/blank_iou': 0.20,
    'mask_cycle/caption_len': 3.0, 'mask_cycle/top_caption_share': 0.1, 'mask_cycle/counted': 400,
    'ref_seg/cIoU': 0.70,
}  # fmt: skip


def judged(train=None, limits=None, named=None, **after):
    """The verdict on a run whose last validation differs from its first in these values."""
    last = BEFORE | {name.replace('__', '/'): value for name, value in after.items()}
    log = RunLog(Path('run'), train=train or {}, val={0: BEFORE, 200: last})
    return verdict(log, limits, named)


def test_a_run_that_learned_is_said_to_have_and_gets_no_advice():
    found = judged(mask_cycle__second_view_iou=0.55)
    assert found.title == 'it learned, and nothing looks like cheating.'
    assert found.findings == [
        "mask -> caption -> mask' IoU rose: 0.400 -> 0.550.",
        'cIoU of human expressions stayed: 0.700 -> 0.700.',
        'Controls at the end, of an IoU of 0.550: captions of other regions 0.150 (27%), '
        'no caption 0.200 (36%).',
    ]
    assert found.advice == []
    assert found.lines()[0] == 'Verdict: it learned, and nothing looks like cheating.'


@pytest.mark.parametrize(
    ('after', 'sign', 'setting'),
    [
        (dict(mask_cycle__shuffled_iou=0.50), 'shuffled', 'confuser_weight'),
        (dict(mask_cycle__blank_iou=0.50), 'blank', 'segment_captions.gate_iou'),
        (dict(mask_cycle__top_caption_share=0.9), 'top_caption', 'near_start.weight'),
        (dict(mask_cycle__caption_len=1.2), 'shrunk', 'caption_weight'),
    ],
)
def test_a_score_that_rose_by_cheating_is_no_success(after, sign, setting):
    found = judged(mask_cycle__second_view_iou=0.55, **after)
    assert found.title == f'it looks as if the loop cheats ({sign}).'
    assert any(line.startswith(f'Looks like cheating ({sign}): ') for line in found.findings)
    assert setting in found.advice[0]


def test_the_limits_are_those_of_the_run():
    half = dict(mask_cycle__second_view_iou=0.6, mask_cycle__blank_iou=0.3)
    assert 'cheats' not in judged(**half).title
    assert '(blank)' in judged(limits=CheatLimits(blank_ratio=0.4), **half).title


def test_what_fell_is_said_with_what_holds_it():
    found = judged(mask_cycle__second_view_iou=0.55, ref_seg__cIoU=0.60)
    assert found.title.startswith("mixed: mask -> caption -> mask' IoU rose, cIoU of human expressions fell")
    assert 'refcoco.weight' in found.advice[0]
    assert judged(ref_seg__cIoU=0.60).title == 'it became worse: cIoU of human expressions fell.'


@pytest.mark.parametrize(('taught', 'said'), [(0.02, 'margin_iou'), (0.5, 'Train longer')])
def test_a_run_that_learned_nothing_is_told_what_to_try(taught, said):
    found = judged(train={10: {'signal/taught_ratio': taught}})
    assert found.title == 'it learned next to nothing.'
    assert said in found.advice[0]


def test_captions_without_an_end_are_seen_in_training():
    assert '(cut)' in judged(train={10: {'signal/cut_ratio': 0.9}}, mask_cycle__second_view_iou=0.55).title


def test_without_validations_the_last_training_row_is_judged():
    rows = {10: {'signal/caption_iou': 0.5, 'signal/shuffled_iou': 0.45, 'signal/blank_iou': 0.1}}
    assert '(shuffled)' in verdict(RunLog(Path('run'), train=rows)).title
    assert verdict(RunLog(Path('run'))).title.startswith('nothing to compare')


def test_validations_of_two_kinds_are_not_compared():
    log = RunLog(Path('run'), val={0: BEFORE, 9: {'mask_cycle_given/second_view_iou': 0.9}})
    assert verdict(log).title.startswith('nothing to compare')


def test_few_regions_and_earlier_signs_are_mentioned():
    found = judged(mask_cycle__second_view_iou=0.55, mask_cycle__counted=8, named=['cut'])
    assert 'Only 8 regions were validated: small changes may be chance.' in found.findings
    assert 'Signs of cheating while it trained, gone at the end: cut.' in found.findings
