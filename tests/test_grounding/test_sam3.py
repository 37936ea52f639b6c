"""SAM 3 as grounding encoder gives what its modules, run plainly on one image and mask, give."""

import pytest
import torch
from torch import Tensor

from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionViews
from tests.plain_sam3 import PlainSam3
from tests.sam3_base import HAS_SAM3, WHY_NOT, write_sam3_base

pytestmark = pytest.mark.skipif(not HAS_SAM3, reason=WHY_NOT)
IMAGES = torch.tensor([1, 0, 1])
TEXTS = ['the red ear', 'the blue circle', 'the star']


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return write_sam3_base(tmp_path_factory.mktemp('base'))


@pytest.fixture(scope='module')
def plain(base):
    return PlainSam3(base)


@pytest.fixture(scope='module')
def pixels() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope='module')
def model(base) -> Sa2VA:
    return Sa2VA(base).eval()


def views_of(model: Sa2VA, pixels: Tensor) -> RegionViews:
    tiles = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(4))
    return RegionViews(model.encode_images(tiles, [1, 1], pixels), IMAGES)


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 2e-5) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance


def test_the_levels_of_an_image(model, plain, pixels):
    found = views_of(model, pixels).features.grounding
    assert [level.shape[-1] for level in found] == [32, 16, 8]
    for image in range(2):
        fine, middle, coarse = plain.levels(pixels[image : image + 1])
        coarse = coarse + plain.t['no_mem_embed'].view(1, -1, 1, 1)
        for level, expected in zip(found, (fine, middle, coarse)):
            assert_near(level[image : image + 1], expected)


def shift_object_score(model: Sa2VA, plain: PlainSam3, bias: float) -> None:
    with torch.no_grad():
        for decoder in (model.grounding_encoder.mask_decoder, plain.native.mask_decoder):
            decoder.pred_obj_score_head.proj_out.bias.fill_(bias)


@pytest.fixture
def embeds(model, pixels) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(3, model.grounding_kind.hidden_size, generator=generator)


@pytest.fixture
def _restored(model, plain):
    yield
    shift_object_score(model, plain, 30.0)


def decode(model: Sa2VA, views: RegionViews, embeds: Tensor) -> Tensor:
    found = model.grounding_kind.decode(
        model.grounding_encoder, views.features.grounding, views.image_index, embeds
    )
    masks, iou_scores = found
    return masks[torch.arange(len(masks)), iou_scores.argmax(1)]


@pytest.mark.usefixtures('_restored')
@pytest.mark.parametrize('objects', ['all', 'none', 'some'])
@torch.no_grad()
def test_mask_logits_and_that_a_mask_without_an_object_is_empty(model, plain, pixels, embeds, objects):
    levels = [plain.levels(pixels[image : image + 1]) for image in IMAGES.tolist()]
    if objects == 'some':
        shift_object_score(model, plain, 0.0)
        scores = [plain.candidates(*case)[2].item() for case in zip(levels, embeds)]
        shift_object_score(model, plain, -sorted(scores)[1] - 1e-3)  # the middle one is just below zero
    elif objects == 'none':
        shift_object_score(model, plain, -30.0)
    expected = torch.stack([plain.mask(*case) for case in zip(levels, embeds)])
    is_empty = (expected == -1024).all(-1).all(-1)
    assert is_empty.sum() == {'all': 0, 'none': 3, 'some': 2}[objects]
    assert_near(decode(model, views_of(model, pixels), embeds), expected)


def test_the_whole_way_from_a_text(model, plain, pixels):
    views = views_of(model, pixels)
    with torch.no_grad():
        found = model.segment(views, model.embed_expressions(TEXTS))
        prompts = model.segment_prompts(views, model.embed_expressions(TEXTS))
        answer = model.segment_answer()
        at = len(answer) - model.text.position_of_seg(answer.tolist())
        for row, prompt in enumerate(prompts):
            state = model.states([torch.cat([prompt.embeds, model.embed_ids(answer)])])[0][-at]
            image = int(IMAGES[row])
            levels = plain.levels(pixels[image : image + 1])
            assert_near(found.mask_logits[row], plain.mask(levels, model.text_hidden_fcs(state)))


@pytest.mark.usefixtures('_restored')
def test_gradients_reach_the_mask_decoder_also_where_no_object_is_seen(model, plain, pixels, embeds):
    shift_object_score(model, plain, -30.0)
    views = views_of(model, pixels)
    decoder = model.grounding_encoder.mask_decoder
    embeds = embeds.requires_grad_()
    masks, iou_scores = model.grounding_kind.decode(
        model.grounding_encoder, views.features.grounding, views.image_index, embeds
    )
    (masks.square().mean() + iou_scores.sum()).backward()
    silent = {n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()}
    decoder.zero_grad(set_to_none=True)
    # A candidate that multimask output leaves out, and the score of which nothing is learned.
    assert {n.split('.')[0] for n in silent} == {'output_hypernetworks_mlps', 'pred_obj_score_head'}
    assert all(n.startswith(('output_hypernetworks_mlps.0.', 'pred_obj_score_head.')) for n in silent)
    assert embeds.grad.any()


def test_only_the_mask_decoder_is_trained_and_the_encoder_stays_in_eval_mode(model):
    model.train()
    trained = {n for n, p in model.grounding_encoder.named_parameters() if p.requires_grad}
    assert {name.split('.')[0] for name in trained} == {'mask_decoder'}
    assert len(trained) == 131  # as of SAM 2
    assert not any(m.training for m in model.grounding_encoder.vision_encoder.modules())
    model.eval()
