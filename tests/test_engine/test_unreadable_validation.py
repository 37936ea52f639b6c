"""Validation and test of MMEngine's Runner, where an image cannot be read and is a batch of its own."""

import pytest
from mmengine.dataset import DefaultSampler
from mmengine.runner import Runner

from projects.mask_caption_sft.datasets import RefCOCO, collate_regions
from projects.mask_caption_sft.datasets.mix import RegionConcat
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions
from projects.mask_caption_sft.evaluation.ref_seg_metric import RefSegMetric
from projects.mask_caption_sft.hooks.skip_report_hook import SkipReportHook
from projects.mask_caption_sft.tiny_world.world import write_world
from tests.miniature import miniature_model


def runner(data_root, work_dir) -> Runner:
    packing = dict(
        type=PackRegions, max_tiles=1, full_masks=True, image_size=56, grid_size=2, grounding_size=128
    )
    split = dict(
        type=RefCOCO,
        data_root=str(data_root),
        split='val',
        every_expression=True,
        pipeline=[dict(type=ChooseRegions, max_regions=None), packing],
    )
    loader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type=DefaultSampler, shuffle=False, round_up=False),
        collate_fn=dict(type=collate_regions),
        dataset=dict(type=RegionConcat, datasets=dict(refcoco_val=split)),
    )
    evaluator = [dict(type=RefSegMetric)]
    return Runner(
        model=miniature_model(predict_answers='given'),
        work_dir=str(work_dir),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=evaluator,
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=evaluator,
        custom_hooks=[dict(type=SkipReportHook)],
        experiment_name=work_dir.name,
    )


@pytest.mark.parametrize('stage', ['val', 'test'])
def test_the_scores_are_of_the_rest_and_the_log_says_what_they_are_without(tmp_path, caplog, stage):
    write_world(tmp_path / 'world', num_train=1, num_val=2)
    data_root = tmp_path / 'world' / 'refcoco'
    # Image 1 is the training set's; 2 has four objects and 3 has three, each with three expressions.
    (broken,) = data_root.rglob('COCO_train2014_000000000002.jpg')
    broken.write_bytes(b'')
    run = runner(data_root, tmp_path / f'work_{stage}')
    run.logger.addHandler(caplog.handler)
    scores = getattr(run, stage)()
    assert scores['ref_seg_given/counted'] == 9
    assert 'skipped refcoco_val' in caplog.text
    assert f'{broken} cannot be read' in caplog.text
    assert caplog.text.count('without 1 record(s) that could not be read') == 1
    assert not (tmp_path / f'work_{stage}' / 'skipped_records.jsonl').exists()  # not of the training data


def test_if_nothing_can_be_read_it_still_ends_and_says_so(tmp_path, caplog):
    write_world(tmp_path / 'world', num_train=1, num_val=2)
    data_root = tmp_path / 'world' / 'refcoco'
    for image in data_root.rglob('*.jpg'):
        image.write_bytes(b'')
    run = runner(data_root, tmp_path / 'work_none')
    run.logger.addHandler(caplog.handler)
    run.val()
    assert 'without 2 record(s)' in caplog.text
