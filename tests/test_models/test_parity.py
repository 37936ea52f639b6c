"""Agreement with numbers that upstream's own code gave; see PARITY.md beside the recorded data."""

import numpy as np
import pytest
import torch
from PIL import Image

from projects.mask_caption_sft.datasets.tiling import grounding_pixels, tile_image
from projects.mask_caption_sft.models.sa2va import Sa2VA
from projects.mask_caption_sft.ops.visual_prompt import visual_prompt_grid

ZERO = torch.zeros(1, dtype=torch.long)


@pytest.fixture(scope='module')
def record(shared_dir):
    return np.load(shared_dir / 'parity' / 'upstream_reference.npz')


@pytest.fixture(scope='module')
def model(shared_dir):
    return Sa2VA(shared_dir / 'parity' / 'tiny_sa2va', round_grounding_stats=True).eval()


@pytest.fixture(scope='module', params=[0, 1])
def case(request, record, model):
    """Name of an image, its record, and its features from our own preprocessing."""
    name = f'img{request.param}'
    image = Image.fromarray(record[f'{name}/image'])
    tiles = tile_image(image, 448, 12)
    raw = grounding_pixels(image, 1024)
    return name, tiles, raw, model.encode_images(tiles, [len(tiles)], raw[None])


def assert_near(found, expected, tolerance):
    assert np.abs(found.detach().numpy() - expected).max() <= tolerance


def test_pixels_are_identical(case, record):
    name, tiles, raw, _ = case
    assert_near(tiles, record[f'{name}/pixel_values'], 0)
    assert_near(raw.permute(1, 2, 0), record[f'{name}/sam2_image_u8'], 0)


def test_vision_tokens(case, model, record):
    name, *_, features = case
    assert_near(model._image_tokens(features)[0], record[f'{name}/vit_embeds'], 2e-5)


def test_mask_logits_and_the_answer(case, model, record):
    name, *_, features = case
    text = model.embed_expressions(['the blue square on the right'])
    result = model.segment(features, ZERO, *text)
    assert_near(result.mask_logits, record[f'{name}/seg1/low_res_logits'][0], 2e-5)
    assert_near(result.answer_logits[0], record[f'{name}/seg1/train/answer_logits'], 1e-4)
    chosen = record[f'{name}/seg1/ious'][0].argmax()
    assert_near(result.iou_scores, record[f'{name}/seg1/ious'][:, chosen], 1e-4)


@pytest.mark.parametrize('number', [0, 1])
def test_caption_logits_with_visual_prompts(case, model, record, number):
    name, *_, features = case
    key = f'{name}/cap{number}'
    regions = torch.from_numpy(record[f'{key}/regions']).bool()
    cells = visual_prompt_grid(regions, 16, at_least_one=False)
    assert_near(cells.float(), record[f'{key}/prompt_masks'], 0)
    prompt = model.describe_prompt(model._image_tokens(features)[0], cells)
    assert len(prompt) == len(record[f'{key}/input_ids'])
    answer = torch.from_numpy(record[f'{key}/answer_ids'])
    hidden = model._run([torch.cat([prompt, model.mllm.get_input_embeddings()(answer)])])[0]
    states = hidden[len(prompt) - 1 : -1]
    assert_near(model.mllm.lm_head(states), record[f'{key}/answer_logits'], 1e-4)


def test_the_written_caption(case, model, record):
    name, *_, features = case
    regions = torch.from_numpy(record[f'{name}/cap0/regions']).bool()
    captions = model.describe(features, ZERO, visual_prompt_grid(regions, 16), max_new_tokens=20)
    expected = str(record[f'{name}/cap0/prediction']).removesuffix('<|end|>')
    assert model.decode(captions) == [expected]
