"""A config names its base once, and every size of its data follows."""

import argparse
import json
import shutil
from pathlib import Path

import pytest
import torch
from _config import read_config
from mmengine.config import Config

from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.engine.base_sizes import follow_base, packers
from projects.mask_caption_sft.grounding import grounding_kind_of
from projects.mask_caption_sft.preflight import preflight as preflight_module
from projects.mask_caption_sft.preflight.rehearsal import RehearsalRunner
from projects.mask_caption_sft.sa2va.base_sizes import BaseSizes, base_sizes
from projects.mask_caption_sft.sa2va.released_sizes import released_config
from projects.mask_caption_sft.tiny_world.base_model import tiny_config
from tests.miniature import SIZES, miniature_sa2va

TINY_BASE = Path('projects/mask_caption_sft/tiny_world/base')
FIRST = 'train_dataloader.dataset.datasets.sav.pipeline.2'


def sizes_of(config: Config) -> set[tuple]:
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    found = [node for loader in loaders for _, node in packers(config.get(loader), loader)]
    assert len(found) == 10  # four datasets of the mix, three of validation, three of the test
    return {(node['image_size'], node['grid_size'], node['grounding_size']) for node in found}


@pytest.fixture
def base(tmp_path):
    """A base of the tiny model's files whose config.json a test may change."""
    shutil.copytree(TINY_BASE, tmp_path / 'base')
    return tmp_path / 'base'


def change(base: Path, **values) -> str:
    path = base / 'config.json'
    content = json.loads(path.read_text())
    grounding_size = values.pop('grounding_size', None)
    if grounding_size is not None:
        content['tiny_sam2']['image_size'] = grounding_size
    content['llm_config'].update(values.pop('llm_config', {}))
    path.write_text(json.dumps(content | values))
    return str(base)


def tiny(base) -> Config:
    config = Config.fromfile('configs/mask_caption_sft_tiny.py')
    config.model.sa2va.update(base=str(base))
    return config


def test_the_sizes_of_the_released_4b_and_of_the_tiny_base():
    assert base_sizes(released_config('Sa2VA-4B')) == BaseSizes(448, 16, 1024, 32768, 256)
    assert base_sizes(json.loads((TINY_BASE / 'config.json').read_text())) == BaseSizes(168, 6, 128, 2048, 32)


def test_the_sizes_are_those_of_the_model():
    model = miniature_sa2va()
    sizes = base_sizes(model.config)
    assert sizes == model.sizes
    assert (sizes.grounding_size, sizes.max_context) == (model.grounding_size, model.max_context)
    tiles = torch.zeros(1, 3, sizes.image_size, sizes.image_size)
    assert model.encode_tiles(tiles).shape[1] == sizes.grid_size**2


def test_every_pipeline_follows_the_base_that_is_named_once(base):
    config = tiny(TINY_BASE)
    follow_base(config)
    assert sizes_of(config) == {(168, 6, 128)}
    other = tiny(change(base, force_image_size=56, grounding_size=256))
    follow_base(other)
    assert sizes_of(other) == {(56, 2, 256)}
    built = PackRegions(
        **{k: v for k, v in other.train_dataloader.dataset.datasets.sav.pipeline[2].items() if k != 'type'}
    )
    assert built.mask_size == 64  # a quarter, where SAM 2 draws masks


def test_packs_and_configs_that_were_written_to_a_file_follow_too(tmp_path):
    packed = Config.fromfile('configs/mask_caption_sft_4b_packed.py', format_python_code=False)
    packed.dump(tmp_path / 'written.py')
    for config in (packed, Config.fromfile(tmp_path / 'written.py')):
        config.model.sa2va.update(base=str(TINY_BASE))
        follow_base(config)
        found = dict(packers(config.train_dataloader, 'train'))
        assert len(found) == 6
        assert {node['grounding_size'] for node in found.values()} == {128}


def test_a_size_that_is_stated_and_right_is_let_be(base):
    config = tiny(base)
    config.merge_from_dict({f'{FIRST}.image_size': 168})
    follow_base(config)
    assert sizes_of(config) == {(168, 6, 128)}


def test_sizes_that_differ_from_the_base_are_refused_all_at_once_with_the_mend(base):
    config = tiny(base)
    config.merge_from_dict({f'{FIRST}.grounding_size': 224, f'{FIRST}.image_size': 448})
    with pytest.raises(ValueError, match='Leave it out: it follows from') as refused:
        follow_base(config)
    mend = 'Leave it out: it follows from model.sa2va.base.'
    assert str(refused.value).splitlines() == [
        f'{FIRST}.image_size=448, but {base}/config.json says 168. {mend}',
        f'{FIRST}.grounding_size=224, but {base}/config.json says 128. {mend}',
    ]


def test_without_the_base_data_have_the_sizes_of_the_4b_and_what_is_stated_stays():
    config = tiny('nowhere')
    config.merge_from_dict({f'{FIRST}.grounding_size': 224})
    follow_base(config)
    assert sizes_of(config) == {(448, 16, 1024), (448, 16, 224)}


def test_a_model_that_starts_without_a_base_leaves_the_sizes_to_the_config():
    config = Config.fromfile('configs/sa2va_tiny_base.py')
    follow_base(config)
    ((_, found),) = packers(config.train_dataloader, 'train')
    assert (found['image_size'], found['grid_size'], found['grounding_size']) == (168, 6, 128)
    assert tuple(base_sizes(tiny_config(vocab_size=421)).__dict__.values())[:3] == (168, 6, 128)


def test_a_transform_without_sizes_says_where_they_come_from():
    with pytest.raises(
        ValueError, match=r'image_size=56, grid_size=None.* call engine\.base_sizes\.follow_base'
    ):
        PackRegions(image_size=56, grounding_size=128)


def test_the_tools_take_the_sizes_of_an_overridden_base_and_of_a_checkpoint_directory(base):
    change(base, force_image_size=56)
    options = {'model.sa2va.base': str(base)}
    args = argparse.Namespace(config='configs/mask_caption_sft_tiny.py', cfg_options=options)
    assert sizes_of(read_config(args)) == {(56, 2, 128)}
    args.cfg_options = {}
    assert sizes_of(read_config(args, base=str(base))) == {(56, 2, 128)}


def test_a_wrong_size_ends_a_tool_before_it_starts(base):
    options = {'model.sa2va.base': str(base), f'{FIRST}.grid_size': 16}
    args = argparse.Namespace(config='configs/mask_caption_sft_tiny.py', cfg_options=options)
    with pytest.raises(SystemExit, match=r'error: .*grid_size=16, but .*config\.json says 6'):
        read_config(args)


@pytest.mark.parametrize('size', [96, 112, 128, 144, 224, 256])
def test_a_grounding_size_is_refused_where_sam_2_would_fail(size):
    config = tiny_config(421, SIZES | {'grounding_size': size})
    with torch.device('meta'):
        encoder = grounding_kind_of(config).build().vision_encoder
        if size % 32:  # a quarter of the side, in windows of 8
            with pytest.raises((RuntimeError, ValueError)):
                encoder(torch.zeros(1, 3, size, size))
            with pytest.raises(ValueError, match=f'grounding size of {size} cannot .* a multiple of 32'):
                base_sizes(config)
        else:
            encoder(torch.zeros(1, 3, size, size))
            assert base_sizes(config).grounding_size == size


@pytest.mark.parametrize('size', [60, 70])  # not whole patches of 14; five of them, which do not pair up
def test_an_image_size_that_does_not_divide_is_refused(size):
    with pytest.raises(ValueError, match=f'force_image_size={size} does not divide into patches of 14'):
        base_sizes(tiny_config(421, SIZES | {'image_size': size}))


@pytest.fixture
def _no_steps(monkeypatch):
    """A dry run builds everything and trains nothing."""
    monkeypatch.setattr(RehearsalRunner, 'train', lambda self: None)
    for name in ('measured_lines', 'disk_lines', 'estimated_lines'):
        monkeypatch.setattr(preflight_module, name, lambda *args: [])


def dry_run_output(config, capsys) -> str:
    config.train_dataloader.dataset.datasets = {}
    config.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    follow_base(config)
    status = preflight_module.preflight(config)
    output = capsys.readouterr().out
    assert status == ('problem(s)' in output)
    return output.split('nothing was trained')[-1]


def dry(base, **pipeline) -> Config:
    config = tiny(base)
    config.work_dir = str(Path(base).parent / 'never_kept')
    config.test_dataloader.dataset.datasets.sa1b_val.pipeline[-1].update(**pipeline)
    return config


@pytest.mark.usefixtures('_no_steps')
def test_the_dry_run_has_nothing_against_the_tiny_config(base, capsys):
    assert dry_run_output(dry(base), capsys) == '.\n'


@pytest.mark.usefixtures('_no_steps')
def test_the_dry_run_finds_a_grounding_size_that_sam_2_cannot_divide(base, capsys):
    output = dry_run_output(dry(change(base, grounding_size=144)), capsys)
    assert "a grounding size of 144 cannot be divided into SAM 2's windows" in output
    assert f"model.sa2va.base='{base}'" in output


@pytest.mark.usefixtures('_no_steps')
def test_the_dry_run_finds_more_tiles_than_the_context_holds(base, capsys):
    change(base, llm_config=dict(max_position_embeddings=300))
    assert dry_run_output(dry(base, max_tiles=2), capsys) == '.\n'
    # Six tiles and the thumbnail are 7 * 36 = 252 tokens, the region at most 36: 288 and some words.
    output = dry_run_output(dry(base, max_tiles=6), capsys)
    assert 'test_dataloader.dataset.datasets.sa1b_val.pipeline.2.max_tiles=6: a prompt of up to' in output
    assert "(252 of the image) and model.max_caption_len=10 exceed the model's context of 300" in output


@pytest.mark.usefixtures('_no_steps')
def test_the_dry_run_finds_a_template_that_there_is_not_with_and_without_the_base(base, capsys):
    for place in (base, 'nowhere'):
        config = dry(place)
        config.model.sa2va.update(prompt_template='phi9_chat')
        assert "'phi9_chat' is unknown" in dry_run_output(config, capsys)


@pytest.mark.usefixtures('_no_steps')
def test_the_dry_run_finds_a_schedule_that_states_two_things(base, capsys):
    config = dry(base)
    config.param_scheduler[1].update(end=600)
    assert 'param_scheduler.1 states shares of the run' in dry_run_output(config, capsys)
