"""Agreement with upstream's own numbers, from a record small enough to keep here.

``tests/data/upstream_small`` is a random checkpoint in the released layout, without SAM 2's memory modules
and in bfloat16, which holds its weights exactly; and what upstream's code computed with it in float32 on
one image (magic-research/Sa2VA at d01bf3f). ``test_parity.py`` compares with the whole record, where that is.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from projects.mask_caption_sft.datasets.tiling import grounding_pixels, tile_image
from projects.mask_caption_sft.loop.predict import upsample_mask
from projects.mask_caption_sft.ops.pixels import normalize_tiles
from projects.mask_caption_sft.ops.visual_prompt import visual_prompt_grid
from projects.mask_caption_sft.sa2va.answer import answer, region_question, segment_question
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionViews, join

FOLDER = Path('tests/data/upstream_small')


@pytest.fixture(scope='module')
def record():
    return np.load(FOLDER / 'record.npz')


@pytest.fixture(scope='module')
def model():
    return Sa2VA(FOLDER, round_grounding_stats=True).eval()


@pytest.fixture(scope='module')
def features(model, record):
    image = Image.fromarray(record['image'])
    tiles = tile_image(image, 448, 12)
    assert np.array_equal(normalize_tiles(tiles)[:, :, ::8, ::8].numpy(), record['pixels_s8'])
    return model.encode_images(tiles, [len(tiles)], grounding_pixels(image, 1024)[None])


def assert_near(found, expected, tolerance):
    assert np.abs(found.detach().numpy() - expected).max() <= tolerance


def states(model, prompt, answer_ids):
    """Hidden states from the last prompt token on."""
    answer = torch.from_numpy(answer_ids)
    hidden = model.states([join([prompt, model.mllm.get_input_embeddings()(answer)])])[0]
    return hidden[len(prompt) - 1 :]


def test_vision_tokens(model, features, record):
    found = model.image_tokens(features, 0).embeds
    assert_near(found, record['vit_embeds'].reshape(found.shape), 2e-5)


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
    captions = model.describe(RegionViews(features, torch.zeros(1, dtype=torch.long), cells), 20)
    assert [f'{text}<|end|>' for text in captions.texts] == [str(record['cap/prediction'])]


def test_the_mask_and_which_candidate_it_is(model, features, record):
    text = model.embed_expressions(['the blue square on the right'])
    result = model.segment(RegionViews(features, torch.zeros(1, dtype=torch.long)), text)
    assert_near(result.mask_logits, record['seg/low_res_logits'][0], 2e-5)
    assert_near(result.iou_scores, record['seg/ious'].max(1), 1e-4)
    mask = upsample_mask(result.mask_logits[0], 1024, record['image'].shape[:2])
    height, width = record['image'].shape[:2]
    expected = np.unpackbits(record['seg/masks'])[: height * width].reshape(height, width).astype(bool)
    assert np.array_equal(mask.numpy(), expected)


def test_the_whole_answer_is_the_recorded_one(model, features, record):
    found = answer(model, features, segment_question(model, features, 'the blue square on the right'))
    assert f'{found.text}<|end|>' == str(record['seg/prediction'])
    assert_near(found.mask_logits, record['seg/low_res_logits'][0], 2e-5)
