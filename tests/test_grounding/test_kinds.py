"""Which grounding encoder a checkpoint has, the sizes that follow, and what is refused."""

import json
from math import prod
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from projects.mask_caption_sft.checkpoints.config import check_config, read_config
from projects.mask_caption_sft.checkpoints.key_map import key_map_of
from projects.mask_caption_sft.checkpoints.trained_tensors import released_to_upstream, upstream_to_released
from projects.mask_caption_sft.datasets.transforms import PackRegions
from projects.mask_caption_sft.engine.base_sizes import follow_base, packers
from projects.mask_caption_sft.grounding import grounding_kind_of, sam3
from projects.mask_caption_sft.sa2va.base_sizes import base_sizes
from projects.mask_caption_sft.sa2va.released_sizes import released_config
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.tiny_world.base_model import new_sa2va, tiny_config, write_base
from tests.miniature import SIZES
from tests.sam3_base import HAS_SAM3, PREFIX, SAM3_SIZES, WHY_NOT, sam3_config, write_sam3_base

needs_sam3 = pytest.mark.skipif(not HAS_SAM3, reason=WHY_NOT)
PATCHES = PREFIX + 'backbone.vision_backbone.trunk.patch_embed.proj.weight'
#: Parameters of Sa2VA-Qwen3-VL-4B and of the one with SAM 3, as the Hugging Face Hub counts them.
WITH_SAM2, WITH_SAM3 = 5_057_072_434, 5_306_227_586


def with_sam3(**values) -> dict:
    return released_config('Sa2VA-4B') | dict(grounding_encoder='sam3', **values)


# ---------------------------------------------------------------- told by the names of the tensors


def write_names(folder: Path, *names: str, in_shards: bool = False) -> Path:
    config = tiny_config(600, SIZES)
    (folder / 'config.json').write_text(json.dumps(config))
    if in_shards:
        index = {'weight_map': dict.fromkeys(names, 'model-00001-of-00001.safetensors')}
        (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
    else:
        save_file({name: torch.zeros(1) for name in names}, folder / 'model.safetensors')
    return folder


@pytest.mark.parametrize('in_shards', [False, True])
def test_sam_3_is_told_by_the_names_of_its_tensors(tmp_path, in_shards):
    config = read_config(write_names(tmp_path, 'language_model.x', PATCHES, in_shards=in_shards))
    assert grounding_kind_of(config).name == 'SAM 3'


def test_a_config_with_sam_2_is_as_its_file_has_it(tmp_path):
    config = read_config(write_names(tmp_path, PREFIX + 'image_encoder.trunk.pos_embed'))
    assert config == json.loads((tmp_path / 'config.json').read_text())
    assert grounding_kind_of(config).name == 'SAM 2'


@pytest.mark.parametrize('damage', ['no weights', 'no safetensors'])
def test_weights_that_cannot_be_read_are_left_to_who_loads_them(tmp_path, damage):
    write_names(tmp_path, PATCHES)
    weights = tmp_path / 'model.safetensors'
    weights.unlink() if damage == 'no weights' else weights.write_bytes(b'broken')
    assert grounding_kind_of(read_config(tmp_path)).name == 'SAM 2'


def test_a_grounding_encoder_that_there_is_not_is_refused_with_those_that_are():
    message = (
        r"x/config\.json has grounding_encoder 'sam4', which is not supported\. "
        r"Supported are 'sam2' \(SAM 2\) and 'sam3' \(SAM 3\)\."
    )
    with pytest.raises(ValueError, match=message):
        check_config(tiny_config(600, SIZES) | dict(grounding_encoder='sam4'), 'x/config.json')


# ---------------------------------------------------------------- sizes


def test_the_sizes_of_the_release_with_sam_3():
    sizes = base_sizes(with_sam3())
    assert (sizes.grounding_size, sizes.mask_size) == (1008, 288)  # 72 patches of 14; four times as many
    sizes = base_sizes(sam3_config(600))
    assert (sizes.grounding_size, sizes.mask_size) == (112, 32)


def test_images_and_masks_follow_the_base(tmp_path):
    folder = write_names(tmp_path, PATCHES)
    config = Config.fromfile('configs/mask_caption_sft_tiny.py')
    config.model.sa2va.update(base=str(folder))
    follow_base(config)
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    found = [node for loader in loaders for _, node in packers(config.get(loader), loader)]
    assert {(node['grounding_size'], node['mask_size']) for node in found} == {(1008, 288)}
    settings = {k: v for k, v in found[0].items() if k != 'type'}
    assert PackRegions(**settings | dict(full_masks=False)).mask_size == 288
    assert PackRegions(**settings | dict(full_masks=True)).mask_size is None


@needs_sam3
@pytest.mark.parametrize('size', [100, 112, 126])
def test_a_grounding_size_is_refused_where_sam_3_would_fail(size):
    config = with_sam3(tiny_sam3=SAM3_SIZES | dict(image_size=size))
    if size % 14:
        with pytest.raises(ValueError, match=r'grounding size of 100 cannot .* a multiple of 14.* has 1008'):
            base_sizes(config)
        return
    kind = grounding_kind_of(config)
    with torch.device('meta'):
        native = kind.build()
        levels = kind.encode(native, torch.zeros(1, 3, size, size))
        zero = torch.zeros(1, dtype=torch.long)
        masks, _ = kind.decode(native, levels, zero, torch.zeros(1, kind.hidden_size))
    assert masks.shape[-1] == kind.mask_size == base_sizes(config).mask_size == 4 * size // 14


# ---------------------------------------------------------------- the release


@pytest.fixture(scope='module')
def released():
    """SAM 3 of the released size, as shapes."""
    with torch.device('meta'):
        return grounding_kind_of(with_sam3()).build()


@needs_sam3
def test_all_parameters_of_the_release_are_counted(released):
    """The two 4B on Qwen3-VL differ in their grounding encoders alone."""
    lines = (Path(__file__).parents[1] / 'data' / 'sa2va_4b_tensors.txt').read_text().splitlines()
    shapes = dict(line.split() for line in lines)
    sam2 = sum(prod(map(int, s.split('x'))) for n, s in shapes.items() if n.startswith(PREFIX))
    with torch.device('meta'):
        video = transformers.Sam3TrackerVideoModel(transformers.Sam3TrackerVideoConfig())
    own = {name: p.numel() for name, p in released.named_parameters()}
    memory = {n: p.numel() for n, p in video.named_parameters() if n not in own and 'vision_encoder' not in n}
    neck = sum(p.numel() for p in video.vision_encoder.neck.parameters())
    level = sum(p.numel() for p in video.vision_encoder.neck.fpn_layers[3].parameters())
    class_row, positions = 1024, 256
    held = sum(own.values()) + level + neck + sum(memory.values()) + class_row + positions
    assert held == WITH_SAM3 - WITH_SAM2 + sam2
    assert sum(own.values()) == 457_407_889


@needs_sam3
def test_every_tensor_has_a_name_in_the_release_and_the_way_back(released):
    key_map = key_map_of(with_sam3())
    names = [f'grounding_encoder.{name}' for name, _ in released.named_parameters()]
    entries = {}
    for name in names:
        entry = key_map.entry_for_native(name)
        assert entry is not None, name
        assert name in entry.native
        assert key_map.entry_for(entry.released[0]) == entry
        entries[entry.released] = entry
    assert {native for entry in entries.values() for native in entry.native} == set(names)
    assert all(n.startswith(PREFIX) and not key_map.is_unused(n) for e in entries for n in e)


def test_what_no_image_needs_is_told_from_what_it_does():
    key_map = key_map_of(with_sam3())
    vision = PREFIX + 'backbone.vision_backbone.'
    for name in ('convs.0.conv_1x1.bias', 'sam2_convs.3.conv_3x3.weight', 'trunk.blocks.31.attn.freqs_cis'):
        assert key_map.is_unused(vision + name)
    for name in ('sam2_convs.2.conv_3x3.weight', 'trunk.blocks.31.attn.proj.bias', 'trunk.pos_embed'):
        assert not key_map.is_unused(vision + name)
        assert key_map.entry_for(vision + name) is not None


@pytest.mark.parametrize('memory', ['memory_encoder', 'maskmem_backbone'])
def test_a_factor_of_the_memory_has_a_name_of_its_own_in_upstreams_training_files(memory):
    released = f'{PREFIX}{memory}.fuser.layers.0.g_weight'
    assert released_to_upstream(released, None) == f'{PREFIX}{memory}.fuser.layers.0.gamma'
    assert upstream_to_released(released_to_upstream(released, None)) == released


# ---------------------------------------------------------------- refusals


def test_transformers_4_is_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(sam3, '_LIBRARY', SimpleNamespace())
    message = (
        r'there: its grounding encoder is SAM 3, which transformers .* does not have\. Install version 5 '
        r"\(pip install 'transformers>=5,<5\.25'"
    )
    with pytest.raises(ValueError, match=message):
        grounding_kind_of(with_sam3(), 'there').build()


@pytest.mark.skipif(HAS_SAM3, reason='this transformers has it')
def test_a_checkpoint_with_sam_3_says_so_where_transformers_has_none(tmp_path):
    write_base(new_sa2va(0, SIZES), tmp_path)
    tensors = load_file(tmp_path / 'model.safetensors')
    save_file(tensors | {PATCHES: torch.zeros(1)}, tmp_path / 'model.safetensors')
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(grounding_encoder='sam3')))
    with pytest.raises(
        ValueError, match=rf'its grounding encoder is SAM 3.* {transformers.__version__} does'
    ):
        Sa2VA(tmp_path)


@needs_sam3
def test_a_sam_3_of_another_size_is_named(tmp_path):
    base = write_sam3_base(tmp_path)
    config = json.loads((base / 'config.json').read_text())
    del config['tiny_sam3']
    (base / 'config.json').write_text(json.dumps(config))
    message = r'is a SAM 3 of width 32 with 3 blocks; expected are width 1024 and 32 blocks'
    with pytest.raises(ValueError, match=message):
        Sa2VA(base)


def test_weights_of_another_grounding_encoder_than_the_config_names(tmp_path):
    """Either way, whether or not transformers has both."""
    shapes = {PATCHES: (32, 3, 14, 14)}
    with pytest.raises(
        ValueError, match=r'there: expected is the grounding encoder SAM 2, .*image_encoder\.;'
    ):
        grounding_kind_of(tiny_config(600, SIZES)).check_weights(shapes, 'there')
    shapes = {PREFIX + 'image_encoder.trunk.pos_embed': (1, 8, 7, 7)}
    with pytest.raises(
        ValueError, match=r'expected is the grounding encoder SAM 3, .*backbone\.; .*pos_embed'
    ):
        grounding_kind_of(with_sam3()).check_weights(shapes, 'there')
