"""Agreement with numbers that upstream's own code gave; see PARITY.md beside the recorded data."""

import numpy as np
import pytest
import torch
from PIL import Image

from projects.mask_caption_sft.datasets.tiling import grounding_pixels, tile_image
from projects.mask_caption_sft.loop.predict import upsample_mask
from projects.mask_caption_sft.losses import caption_loss, dice_loss, mask_bce_loss, sample_points
from projects.mask_caption_sft.ops.mask import resize_masks
from projects.mask_caption_sft.ops.pixels import normalize_tiles
from projects.mask_caption_sft.ops.prompts import SEGMENT_PREFIX, SEGMENT_SUFFIX
from projects.mask_caption_sft.ops.visual_prompt import visual_prompt_grid
from projects.mask_caption_sft.sa2va.answer import answer, free_question, region_question, segment_question
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionViews, join

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
    assert_near(normalize_tiles(tiles), record[f'{name}/pixel_values'], 0)
    assert_near(raw.permute(1, 2, 0), record[f'{name}/sam2_image_u8'], 0)


def test_vision_tokens(case, model, record):
    name, *_, features = case
    found = model.image_tokens(features, 0).embeds
    assert_near(found, record[f'{name}/vit_embeds'].reshape(found.shape), 2e-5)


def test_mask_logits_and_the_answer(case, model, record):
    name, *_, features = case
    text = model.embed_expressions(['the blue square on the right'])
    result = model.segment(RegionViews(features, ZERO), text)
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
    prompt = region_question(model, features, cells)
    assert len(prompt) == len(record[f'{key}/input_ids'])
    answer = torch.from_numpy(record[f'{key}/answer_ids'])
    hidden = model.states([join([prompt, model.mllm.get_input_embeddings()(answer)])])[0]
    states = hidden[len(prompt) - 1 : -1]
    assert_near(model.mllm.lm_head(states), record[f'{key}/answer_logits'], 1e-4)


def test_the_written_caption(case, model, record):
    name, *_, features = case
    regions = torch.from_numpy(record[f'{name}/cap0/regions']).bool()
    captions = model.describe(RegionViews(features, ZERO, visual_prompt_grid(regions, 16)), 20)
    expected = str(record[f'{name}/cap0/prediction']).removesuffix('<|end|>')
    assert captions.texts == [expected]


@pytest.mark.parametrize('number', [0, 1])
def test_the_answer_to_a_question_and_its_mask(case, model, record, number):
    name, _, _, features = case
    key = f'{name}/seg{number}'
    words = str(record[f'{key}/text']).removeprefix('<image>')
    found = answer(model, features, free_question(model, features, words))
    assert found.token_ids.tolist() == record[f'{key}/output_ids'].tolist()
    assert f'{found.text}<|end|>' == str(record[f'{key}/prediction'])
    assert_near(found.seg_states, record[f'{key}/seg_hidden'], 1e-4)
    assert_near(found.mask_logits, record[f'{key}/low_res_logits'][0], 2e-5)
    mask = upsample_mask(found.mask_logits[0], 1024, record[f'{name}/image'].shape[:2])
    assert (mask.numpy() != record[f'{key}/masks'][0, 0]).sum() == 0


def test_the_caption_that_the_predict_tool_writes(case, model, record):
    name, _, _, features = case
    regions = torch.from_numpy(record[f'{name}/cap1/regions']).bool()
    cells = visual_prompt_grid(regions, 16, at_least_one=False)
    found = answer(model, features, region_question(model, features, cells))
    assert f'{found.text}<|end|>' == str(record[f'{name}/cap1/prediction'])


def test_the_segment_question_is_the_evaluation_scripts_own(case, model, record):
    name, _, _, features = case
    text = str(record[f'{name}/seg1/text'])
    words = f'<image>{SEGMENT_PREFIX} the blue square on the right{SEGMENT_SUFFIX}'
    assert words == text
    asked = segment_question(model, features, 'the blue square on the right')
    assert torch.equal(asked.embeds, free_question(model, features, text.removeprefix('<image>')).embeds)
    assert len(asked) == len(record[f'{name}/seg1/input_ids'])


def test_losses_of_the_training_forward(case, model, record):
    """Mask cross-entropy and Dice at all pixels, and the language loss, against upstream's own."""
    name, _, _, features = case
    key = f'{name}/seg1/train'
    text = model.embed_expressions(['the blue square on the right'])
    result = model.segment(RegionViews(features, ZERO), text)
    labels = torch.from_numpy(record[f'{key}/labels'])
    assert result.answer_ids.tolist() == labels[labels >= 0].tolist()
    found = caption_loss(result.answer_logits, result.answer_ids[None]).mean()
    assert found.item() == pytest.approx(float(record[f'{key}/llm_loss']), abs=1e-4)
    truth = torch.from_numpy(record[f'{name}/square_mask'])[None]
    masks = resize_masks(truth, (256, 256))
    expected = torch.from_numpy(record[f'{key}/low_res_logits'][0])
    for loss, key_name in ((mask_bce_loss, 'loss_mask'), (dice_loss, 'loss_dice')):
        value = loss(expected, masks).mean().item()
        assert value * {'loss_mask': 2.0, 'loss_dice': 0.5}[key_name] == pytest.approx(
            float(record[f'{key}/{key_name}']), rel=1e-4
        ), key_name


@pytest.mark.parametrize(('number', 'shape'), [(0, 'circle'), (1, 'square')])
def test_losses_at_the_points_that_upstream_samples(case, record, number, shape):
    """With the same seed, the same points: upstream repeats the one object to five."""
    key = f'{case[0]}/seg{number}/train'
    logits = torch.from_numpy(record[f'{key}/low_res_logits'][0]).repeat(5, 1, 1)
    masks = resize_masks(torch.from_numpy(record[f'{case[0]}/{shape}_mask'])[None], (256, 256))
    torch.manual_seed(0)
    sampled = sample_points(logits, masks.repeat(5, 1, 1), 12544)
    for loss, weight, name in ((mask_bce_loss, 2.0, 'loss_mask'), (dice_loss, 0.5, 'loss_dice')):
        expected = float(record[f'{key}/{name}_sampled_seed0'])
        assert weight * loss(*sampled).mean().item() == pytest.approx(expected, abs=1e-5)
