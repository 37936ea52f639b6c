"""A run writes what it says it writes, and goes on where it stopped."""

import shutil
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.workplace import CONFIG, ROOT, load_checkpoint

pytestmark = pytest.mark.slow

WITHOUT_VALIDATION = ('val_cfg=None', 'val_dataloader=None', 'val_evaluator=None')
SOFT_TOKENS = CONFIG.with_name('mask_caption_sft_tiny_soft_tokens.py')


def test_losses_datasets_times_and_signals_are_logged(trained):
    rows = trained.scalars('run')
    train = [row for row in rows if 'loss' in row]
    assert [row['step'] for row in train] == [1, 2, 3, 4]
    names = set().union(*train)
    assert {
        'loss_mask', 'loss_dice', 'loss_iou', 'loss_caption', 'loss_llm', 'loss_kl', 'lr', 'data_time',
        'time', 'host_memory_mb', 'grad_norm', 'signal/shuffled_iou', 'signal/blank_iou',
        'signal/same_view_iou', 'signal/kl',
        'signal/caption_len', 'signal/distinct_1', 'signal/distinct_2', 'signal/top_caption_share',
        'signal/banned_rate', 'signal/cut_ratio', 'signal/caption_iou', 'signal/taught_ratio',
        'sav/caption_iou', 'sa1b/caption_iou', 'refcoco/loss_iou',
    } <= names  # fmt: skip


def test_soft_tokens_log_their_own_loss_of_each_dataset(workplace):
    workplace.train('soft', 4, validate=False, options=WITHOUT_VALIDATION, config=SOFT_TOKENS)
    names = set().union(*(row for row in workplace.scalars('soft') if 'loss' in row))
    assert {'sav/loss_iou', 'sa1b/loss_iou', 'signal/bridge_iou'} <= names


def test_validation_runs_before_and_after_with_both_controls(trained):
    val = [row for row in trained.scalars('run') if 'mask_cycle/counted' in row]
    assert len(val) == 2
    for row in val:
        assert {'mask_cycle/second_view_iou', 'mask_cycle/shuffled_iou', 'mask_cycle/blank_iou'} <= row.keys()
        assert row['ref_seg/counted'] > 0


def test_pictures_and_tensorboard_are_written(trained):
    data = next((trained.folder / 'run').glob('*/vis_data'))
    pictures = {path.name for path in (data / 'vis_image').glob('*.png')}
    assert {'samples_0.png', 'samples_4.png', 'train_samples_2.png', 'train_samples_4.png'} <= pictures
    assert list(data.glob('events.out.tfevents.*'))


def test_the_newest_checkpoints_are_kept_and_hold_what_is_trained(trained):
    kept = sorted(path.name for path in (trained.folder / 'run').glob('*.pth'))
    assert [name for name in kept if name.startswith('iter')] == ['iter_3.pth', 'iter_4.pth']
    assert len([name for name in kept if name.startswith('best_mask_cycle_second_view_iou')]) == 1
    checkpoint = load_checkpoint(trained.folder / 'run' / 'iter_4.pth')
    names = checkpoint['state_dict'].keys()
    students = {name.removeprefix('student.') for name in names if name.startswith('student.')}
    teachers = {name.removeprefix('teacher.') for name in names if name.startswith('teacher.')}
    assert students == teachers
    parts = ('embed_tokens', 'lm_head', 'lora_', 'multi_modal_projector', 'mask_decoder', 'text_hidden_fcs')
    assert all(any(part in name for part in parts) for name in students)
    assert 0 < len(checkpoint['optimizer']['state']) <= len(students)
    assert checkpoint['meta']['iter'] == 4
    assert checkpoint['meta']['sa2va']['base'] == 'data/tiny_world/sa2va_tiny'
    assert checkpoint['message_hub']['log_scalars']


def test_the_teacher_lags_behind_the_student(trained):
    state = load_checkpoint(trained.folder / 'run' / 'iter_4.pth')['state_dict']
    name = next(n for n in state if n.startswith('student.') and 'lora_B' in n)
    student, teacher = state[name], state[name.replace('student', 'teacher', 1)]
    assert 0 < teacher.abs().max() < student.abs().max()


def test_resume_goes_on_with_the_saved_teacher_and_does_not_validate_again(trained):
    before = load_checkpoint(trained.folder / 'run' / 'iter_4.pth')['state_dict']
    trained.train('run', 5, '--resume', options=('custom_hooks.0.momentum=0.0', 'custom_hooks.5.share=1.0'))
    rows = trained.scalars('run')
    assert [row['step'] for row in rows if 'loss' in row] == [5]
    assert len([row for row in rows if 'mask_cycle/counted' in row]) == 1
    after = load_checkpoint(trained.folder / 'run' / 'iter_5.pth')['state_dict']
    teachers = [name for name in before if name.startswith('teacher.')]
    assert all(torch.equal(before[name], after[name]) for name in teachers)
    assert any(not torch.equal(before[n], after[n]) for n in before if n.startswith('student.'))


def test_one_path_puts_the_real_sav_pairs_in_place(workplace, shared_dir):
    name = 'train_dataloader.dataset.datasets'
    others = [f'{name}.{other}=None' for other in ('sa1b', 'openimages', 'refcoco')]
    options = (
        f'{name}.sav.data_root={shared_dir}/data/sav_pairs',
        *others,
        *WITHOUT_VALIDATION,
    )
    workplace.train('real', 2, options=options, validate=False, config=SOFT_TOKENS)
    rows = [row for row in workplace.scalars('real') if 'loss' in row]
    assert [row['step'] for row in rows] == [1, 2]
    assert all(0 < row['sav/loss_iou'] < 1 for row in rows)


@pytest.mark.parametrize('kind', ['student', 'teacher', 'released'])
def test_the_test_tool_reads_our_checkpoints_and_the_released_layout(trained, kind):
    checkpoint = {'released': 'data/tiny_world/sa2va_tiny'}.get(kind, 'run/iter_4.pth')
    flags = ['--teacher'] if kind == 'teacher' else []
    options = [f'test_dataloader.dataset.datasets.{name}=None' for name in ('sa1b_val', 'refcoco_val')]
    # Nothing is trained: the training data need not be there.
    options.append('train_dataloader.dataset.datasets.sav.data_root=nowhere')
    tool = [sys.executable, str(ROOT / 'tools' / 'test.py'), str(CONFIG), checkpoint, *flags]
    result = trained.call(*tool, '--work-dir', kind, '--cfg-options', *options)
    assert 'mask_cycle/second_view_iou' in result.stdout + result.stderr


def test_a_base_in_bfloat16_is_validated_under_autocast_and_refused_without(trained):
    base = trained.folder / 'bfloat16_base'
    shutil.copytree(trained.folder / 'data' / 'tiny_world' / 'sa2va_tiny', base)
    tensors = load_file(base / 'model.safetensors')
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, base / 'model.safetensors')
    options = [f'test_dataloader.dataset.datasets.{name}=None' for name in ('sa1b_val', 'refcoco_val')]
    options.append('model.sa2va.base_dtype=released')
    tool = [sys.executable, str(ROOT / 'tools' / 'test.py'), str(CONFIG), 'bfloat16_base']
    call = [*tool, '--work-dir', 'bfloat16', '--cfg-options', *options]
    assert 'error: The base' in trained.call(*call, check=False).stderr
    result = trained.call(*call, 'model.predict_dtype=bfloat16')
    assert 'mask_cycle/second_view_iou' in result.stdout + result.stderr


def test_the_dry_run_trains_nothing_and_shows_what_would_run(workplace):
    result = workplace.call(sys.executable, str(ROOT / 'tools' / 'train.py'), str(CONFIG), '--dry-run')
    for text in (
        'text_hidden_fcs', 'LoRA', 'train_dataloader.dataset.datasets.sav', 'sizes: tiles of 168',
        'measured: ', 'disk: 5 checkpoints', 'memory: ', 'iterations: 400', 'hours: ',
    ):  # fmt: skip
        assert text in result.stdout, text
    assert 'Everything is in place; nothing was trained.' in result.stdout
    assert not (workplace.folder / 'work_dirs').exists()


def test_the_dry_run_of_the_4b_config_names_every_missing_path(workplace):
    config = str(ROOT / 'configs' / 'mask_caption_sft_4b.py')
    result = workplace.call(
        sys.executable, str(ROOT / 'tools' / 'train.py'), config, '--dry-run', check=False
    )
    assert result.returncode == 1
    assert '260,999,749' in result.stdout
    for key in ('sav', 'sa1b', 'openimages', 'refcoco', 'refcoco_plus', 'refcocog'):
        assert f'train_dataloader.dataset.datasets.{key}.data_root=' in result.stdout
    assert "model.sa2va.base='pretrained/Sa2VA-4B' is missing" in result.stdout
    assert result.stdout.count('https://') >= 6


def test_the_test_tool_keeps_the_best_of_several_captions(workplace):
    options = [f'test_dataloader.dataset.datasets.{name}=None' for name in ('sa1b_val', 'refcoco_val')]
    tool = [sys.executable, str(ROOT / 'tools' / 'test.py'), str(CONFIG), 'data/tiny_world/sa2va_tiny']
    result = workplace.call(
        *tool, '--work-dir', 'best', '--cfg-options', *options, 'model.predict_captions=2'
    )
    assert 'mask_cycle_best_of_2/second_view_iou' in result.stdout + result.stderr
