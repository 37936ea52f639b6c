"""Agreement with upstream's own numbers, from a record small enough to keep here.

``tests/data/upstream_small`` holds the language side (InternViT, projector, Qwen2, ``text_hidden_fcs``) of a
random checkpoint, and what upstream's code computed with it in float32 (magic-research/Sa2VA at d01bf3f).
SAM 2's decoder has four million weights and is compared in ``test_parity.py``, where the whole record is.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoTokenizer

from projects.mask_caption_sft.datasets.tiling import tile_image
from projects.mask_caption_sft.models.answer import region_question, segment_question
from projects.mask_caption_sft.models.loading import native_tensors
from projects.mask_caption_sft.models.sa2va import Sa2VA
from projects.mask_caption_sft.ops.visual_prompt import visual_prompt_grid
from projects.mask_caption_sft.structures import ImageFeatures

FOLDER = Path('tests/data/upstream_small')


@pytest.fixture(scope='module')
def record():
    return np.load(FOLDER / 'record.npz')


@pytest.fixture(scope='module')
def model():
    config = json.loads((FOLDER / 'config.json').read_text())
    model = Sa2VA(config=config, tokenizer=AutoTokenizer.from_pretrained(FOLDER)).eval()
    weights = load_file(FOLDER / 'model.safetensors')
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in native_tensors(weights, weights.__getitem__, str(FOLDER)):
            parameters[name].copy_(tensor)
    return model


@pytest.fixture(scope='module')
def features(model, record):
    tiles = tile_image(Image.fromarray(record['image']), 448, 12)
    assert np.array_equal(tiles[:, :, ::8, ::8].numpy(), record['pixels_s8'])
    return ImageFeatures(model.encode_tiles(tiles), [len(tiles)], ())


def assert_near(found, expected, tolerance):
    assert np.abs(found.detach().numpy() - expected).max() <= tolerance


def states(model, prompt, answer_ids):
    """Hidden states from the last prompt token on."""
    answer = torch.from_numpy(answer_ids)
    hidden = model._run([torch.cat([prompt, model.mllm.get_input_embeddings()(answer)])])[0]
    return hidden[len(prompt) - 1 :]


def test_vision_tokens(model, features, record):
    assert_near(model._image_tokens(features)[0], record['vit_embeds'], 2e-5)


def test_the_answer_and_the_state_at_seg(model, features, record):
    labels = record['seg/labels']
    answer_ids = labels[labels >= 0]
    prompt = segment_question(model, features, 'the blue square on the right')
    hidden = states(model, prompt, answer_ids)
    assert_near(model.mllm.lm_head(hidden[:-1]), record['seg/answer_logits'], 1e-4)
    seg_state = hidden[1:][torch.from_numpy(answer_ids == model.text.seg_token_id)]
    assert_near(seg_state, record['seg/seg_hidden'], 1e-4)
    assert_near(model.text_hidden_fcs(seg_state), record['seg/seg_embed'], 1e-4)


def test_caption_logits_with_a_visual_prompt(model, features, record):
    cells = visual_prompt_grid(torch.from_numpy(record['cap/regions']).bool(), 16, at_least_one=False)
    assert_near(cells.float(), record['cap/prompt_masks'], 0)
    prompt = region_question(model, features, cells)
    assert len(prompt) == len(record['cap/input_ids'])
    hidden = states(model, prompt, record['cap/answer_ids'])
    assert_near(model.mllm.lm_head(hidden[:-1]), record['cap/answer_logits'], 1e-4)


def test_the_written_caption(model, features, record):
    cells = visual_prompt_grid(torch.from_numpy(record['cap/regions']).bool(), 16)
    captions = model.describe(features, torch.zeros(1, dtype=torch.long), cells, max_new_tokens=20)
    assert [f'{text}<|end|>' for text in model.text.decode(captions)] == [str(record['cap/prediction'])]
