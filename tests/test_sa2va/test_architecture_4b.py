"""The real 4B, as shapes on the meta device."""

from math import prod
from pathlib import Path

import pytest

from projects.mask_caption_sft.checkpoints.released import plain_name
from projects.mask_caption_sft.sa2va.meta import build_on_meta

LORA = dict(r=128, lora_alpha=256, lora_dropout=0.05)
#: Names and shapes of the released Sa2VA-4B.
RELEASED = {
    name: tuple(int(side) for side in shape.split('x'))
    for name, shape in (
        line.split()
        for line in (Path(__file__).parents[1] / 'data' / 'sa2va_4b_tensors.txt').read_text().splitlines()
    )
}


@pytest.fixture(scope='module')
def model():
    return build_on_meta(lora=LORA)


def trained(model, part: str) -> list[str]:
    return [name for name, p in model.named_parameters() if p.requires_grad and part in name]


def test_what_is_trained_is_exactly_this(model):
    assert len(trained(model, 'lora_')) == 504  # 36 layers x 7 matrices x 2
    assert len(trained(model, 'multi_modal_projector')) == 6
    assert len(trained(model, 'mask_decoder')) == 131
    assert len(trained(model, 'text_hidden_fcs')) == 4
    assert len(trained(model, '')) == 504 + 6 + 131 + 4
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 260_999_749


def test_with_embeddings_and_head():
    model = build_on_meta(lora=LORA, train_embeddings=True)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 882_276_933


def test_the_key_map_covers_the_released_layout_one_to_one(model):
    entries, unknown = model.key_map.entries_for(RELEASED)
    assert unknown == []
    natives = [name for entry in entries for name in entry.native]
    assert len(natives) == len(set(natives))
    own = {plain_name(name) for name, _ in model.named_parameters() if 'lora_' not in name}
    own.add('grounding_encoder.shared_image_embedding.positional_embedding')
    assert set(natives) == own
    mapped = {name for entry in entries for name in entry.released}
    assert mapped | {name for name in RELEASED if model.key_map.is_unused(name)} == set(RELEASED)


def test_the_key_map_read_backwards_gives_the_same_rows(model):
    for entry in model.key_map.entries_for(RELEASED)[0]:
        for native in entry.native:
            assert model.key_map.entry_for_native(native) == entry


def test_shapes_agree_with_the_released_layout(model):
    own = {plain_name(name): tuple(p.shape) for name, p in model.named_parameters()}
    for entry in model.key_map.entries_for(RELEASED)[0]:
        if len(entry.released) == len(entry.native) == 1 and entry.native[0] in own:
            assert own[entry.native[0]] == RELEASED[entry.released[0]], entry
        elif entry.native[0] in own:
            size = sum(prod(own[name]) for name in entry.native)
            assert size == sum(prod(RELEASED[name]) for name in entry.released), entry


def test_all_parameters_of_the_released_checkpoint_are_counted():
    buffer = RELEASED[
        'grounding_encoder.sam2_model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'
    ]
    assert sum(map(prod, RELEASED.values())) - prod(buffer) == 3_941_809_458
