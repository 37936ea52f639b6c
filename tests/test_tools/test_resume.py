"""A run that stops goes on exactly, on one process and on two, or ends early because it no longer gains."""

import pytest
import torch

from tests.workplace import CONFIG, ROOT, SHORT, load_checkpoint

pytestmark = pytest.mark.slow


def test_a_resumed_run_is_the_run_that_was_not_interrupted(workplace):
    """Same batches, same losses, same weights, with the random parts of the loop switched on."""
    options = (
        'model.sa2va.lora.lora_dropout=0.1',
        'model.segmentation_losses.num_points=100',
        'train_dataloader.dataset.datasets.openimages=None',
        'default_hooks.checkpoint.max_keep_ckpts=4',
    )
    without_val = ('val_cfg=None', 'val_dataloader=None', 'val_evaluator=None')
    workplace.train('whole', 4, options=(*options, *without_val), validate=False)
    again = ('--resume', 'whole/iter_2.pth')
    workplace.train('again', 4, *again, options=(*options, *without_val), validate=False)

    def losses(work_dir):
        rows = [row for row in workplace.scalars(work_dir) if 'loss' in row and row['step'] > 2]
        timed = ('time', 'data_time', 'memory', 'host_memory_mb')
        return [{name: row[name] for name in row if name not in timed} for row in rows]

    assert len(losses('whole')) == 2
    assert losses('again') == losses('whole')
    whole, again = (
        load_checkpoint(workplace.folder / name / 'iter_4.pth')['state_dict'] for name in ('whole', 'again')
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_two_processes_train_save_and_resume(workplace):
    def train(max_iters: int, *args: str):
        script = str(ROOT / 'tools' / 'dist_train.sh')
        short = [option for option in SHORT if not option.startswith('val_dataloader')]
        without_val = ['val_cfg=None', 'val_dataloader=None', 'val_evaluator=None']
        options = [f'train_cfg.max_iters={max_iters}', *short, *without_val]
        args = ('--work-dir', 'two', *args, '--cfg-options', *options)
        return workplace.call('env', 'PORT=29533', 'bash', script, str(CONFIG), '2', *args)

    train(2)
    assert (workplace.folder / 'two' / 'iter_2.pth').is_file()
    train(3, '--resume')
    assert [row['step'] for row in workplace.scalars('two') if 'loss' in row] == [3]


def test_two_processes_resume_on_a_base_in_parts_as_on_a_whole_one(workplace):
    """Before and after the resumed iteration they validate, on unequal batches, and draw samples."""

    def train(work_dir: str, *args: str, shard_frozen: bool) -> None:
        script = str(ROOT / 'tools' / 'dist_train.sh')
        options = [
            'train_cfg.max_iters=2',
            'train_cfg.val_interval=2',
            f'model.shard_frozen={shard_frozen}',
            'model.sa2va.activation_checkpointing=True',
            'val_dataloader.batch_size=3',
            'custom_hooks.2.interval=1',
        ]
        short = [o for o in SHORT if not o.startswith(('val_dataloader', 'custom_hooks'))]
        args = ('--work-dir', work_dir, *args, '--cfg-options', *short, *options)
        workplace.call('env', 'PORT=29534', 'bash', script, str(CONFIG), '2', *args)

    train('whole_base', shard_frozen=False)
    train('base_in_parts', '--resume', 'whole_base/iter_1.pth', shard_frozen=True)
    whole, parts = (
        load_checkpoint(workplace.folder / work_dir / 'iter_2.pth')['state_dict']
        for work_dir in ('whole_base', 'base_in_parts')
    )
    assert parts.keys() == whole.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    whole_scores, scores = (
        [row for row in workplace.scalars(work_dir) if 'ref_seg/cIoU' in row][-1]
        for work_dir in ('whole_base', 'base_in_parts')
    )
    assert scores['ref_seg/cIoU'] == whole_scores['ref_seg/cIoU']
    assert scores['mask_cycle/second_view_iou'] == whole_scores['mask_cycle/second_view_iou']


def test_early_stopping_ends_a_run_that_no_longer_gains(workplace):
    options = (
        'default_hooks.early_stopping.patience=1',
        'default_hooks.early_stopping.min_delta=1.0',  # no validation gains so much
        'train_cfg.val_interval=1',
    )
    output = workplace.train('early', 5, options=options).stdout
    assert 'the monitored metric did not improve' in output
    # The validation before the run counts as the first.
    assert (workplace.folder / 'early' / 'iter_1.pth').is_file()
    assert not (workplace.folder / 'early' / 'iter_2.pth').exists()
