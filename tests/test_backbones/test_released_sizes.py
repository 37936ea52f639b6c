"""The released checkpoints, as shapes on the meta device: their parameters are those that are published."""

from math import prod
from pathlib import Path

import pytest

from projects.mask_caption_sft.sa2va.meta import build_on_meta
from projects.mask_caption_sft.sa2va.released_sizes import NAMES, released_config, stand_in_name
from tests.sam3_base import HAS_SAM3, WHY_NOT

#: Parameters in billions of InternVL2.5-1B, -4B, -8B, -26B, InternVL3-2B, -8B, -14B, Qwen2.5-VL-3B, -7B and
#: Qwen3-VL-2B, -4B, by their model cards.
PUBLISHED = {
    'Sa2VA-1B': 0.94, 'Sa2VA-4B': 3.71, 'Sa2VA-8B': 8.08, 'Sa2VA-26B': 25.51,
    'Sa2VA-InternVL3-2B': 2.09, 'Sa2VA-InternVL3-8B': 7.94, 'Sa2VA-InternVL3-14B': 15.12,
    'Sa2VA-Qwen2_5-VL-3B': 3.75, 'Sa2VA-Qwen2_5-VL-7B': 8.29, 'Sa2VA-Qwen3-VL-2B': 2.13,
    'Sa2VA-Qwen3-VL-4B': 4.44, 'Sa2VA-Qwen3-VL-4B-SAM3': 4.44,
}  # fmt: skip
#: Their embeddings are the output matrix, which Sa2VA's are not.
TIED = ('Sa2VA-Qwen2_5-VL-3B', 'Sa2VA-Qwen3-VL-2B', 'Sa2VA-Qwen3-VL-4B', 'Sa2VA-Qwen3-VL-4B-SAM3')
#: Of a layer; InternLM2's are those of Llama.
LORA_PER_LAYER = 2 * 7


NEEDS_SAM3 = pytest.mark.skipif(not HAS_SAM3, reason=WHY_NOT)


@pytest.mark.slow
@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=NEEDS_SAM3 if 'SAM3' in name else ()) for name in NAMES]
)
def test_the_backbone_has_the_published_number_of_parameters(name):
    model = build_on_meta(released_config(name), lora=dict(r=8, lora_alpha=16))
    count = sum(p.numel() for n, p in model.mllm.named_parameters() if 'lora_' not in n)
    if name in TIED:
        count -= model.mllm.lm_head.weight.numel()
    assert count / 1e9 == pytest.approx(PUBLISHED[name], abs=0.011)
    lora = [n for n, _ in model.named_parameters() if 'lora_' in n]
    assert len(lora) == LORA_PER_LAYER * model.backbone.language_config['num_hidden_layers']
    assert model.text_hidden_fcs[0].in_features == model.backbone.hidden_size


@pytest.mark.slow
def test_the_whole_4b_on_qwen3_vl_has_as_many_parameters_as_the_hub_counts():
    """SAM 2's, with its memory, are those of the released Sa2VA-4B; its positional embedding is a buffer."""
    model = build_on_meta(released_config('Sa2VA-Qwen3-VL-4B'))
    own = sum(p.numel() for part in (model.mllm, model.text_hidden_fcs) for p in part.parameters())
    shapes = [line.split() for line in Path('tests/data/sa2va_4b_tensors.txt').read_text().splitlines()]
    sam2 = sum(
        prod(map(int, shape.split('x')))
        for name, shape in shapes
        if name.startswith('grounding_encoder.') and not name.endswith('gaussian_matrix')
    )
    assert own + sam2 == 5_057_072_434


@pytest.mark.slow
@pytest.mark.parametrize('name', ['Sa2VA-8B', 'Sa2VA-26B', 'Sa2VA-Qwen2_5-VL-3B', 'Sa2VA-Qwen3-VL-4B'])
def test_every_tensor_has_a_name_in_the_release_and_the_way_back(name):
    model = build_on_meta(released_config(name))
    for native, _ in model.named_parameters():
        entry = model.key_map.entry_for_native(native)
        assert entry is not None, native
        assert native in entry.native
        assert model.key_map.entry_for(entry.released[0]) == entry


def test_a_folder_named_after_a_release_is_planned_as_that_one():
    assert stand_in_name('pretrained/Sa2VA-26B') == 'Sa2VA-26B'
    assert stand_in_name('pretrained/mine') == stand_in_name(None) == 'Sa2VA-4B'
    assert released_config('Sa2VA-4B')['template'] == 'phi3_chat'
    assert released_config('Sa2VA-8B')['template'] == 'internlm2_chat'
