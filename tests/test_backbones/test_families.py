"""Each family of checkpoints gives what its modules, run plainly on whole prompts, give."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from projects.mask_caption_sft.grounding.masks import best_candidate, decode_masks
from projects.mask_caption_sft.ops import prompts
from projects.mask_caption_sft.ops.prompts import PromptTemplate
from projects.mask_caption_sft.sa2va.answer import answer, segment_question
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import ImageFeatures, RegionViews
from tests.family_bases import FAMILIES, write_family_base
from tests.plain_family import PlainFamily

EXPRESSION, CAPTION = 'the red ear', 'the blue circle'
NUM_TILES = 3


@dataclass
class Case:
    """A checkpoint loaded by the project and run plainly, and an image with a region."""

    model: Sa2VA
    plain: PlainFamily
    tiles: Tensor
    features: ImageFeatures
    cells: Tensor

    def views(self) -> RegionViews:
        return RegionViews(self.features, torch.zeros(1, dtype=torch.long), self.cells[None])

    def plain_embeds(self, text: str) -> Tensor:
        """A whole prompt, tokenised as one string, with the tokens of image and region."""
        vision = self.plain.vision_tokens(self.tiles)
        codec = self.model.text
        ids = torch.tensor(codec.tokenizer(text).input_ids)
        embeds = self.plain.embed(ids).clone()
        found = torch.cat([vision.flatten(0, 1), vision[-1][self.cells.flatten()]])
        places = (ids == codec.tokenizer.convert_tokens_to_ids('<IMG_CONTEXT>')).nonzero()[:, 0]
        embeds[places] = found[: len(places)]
        return embeds

    def describe_text(self) -> str:
        template, image = self.template(), '<IMG_CONTEXT>' * (NUM_TILES * 4)
        region = '<IMG_CONTEXT>' * int(self.cells.sum())
        return (
            f'{template.before_input}<img>{image}</img>\nThere are 1 part regions in the picture: '
            f'region1<vp>{region}</vp>.\n\nPlease give me a short description of the region in the picture '
            f'marked by region1.{template.before_answer}'
        )

    def segment_text(self) -> str:
        template, image = self.template(), '<IMG_CONTEXT>' * (NUM_TILES * 4)
        return (
            f'{template.before_input}<img>{image}</img>\n Please segment {EXPRESSION} in this image.'
            f'{template.before_answer}'
        )

    def template(self) -> PromptTemplate:
        return PromptTemplate.named(self.model.config['template'])


@pytest.fixture(scope='module', params=FAMILIES)
def case(request, tmp_path_factory):
    folder = write_family_base(request.param, tmp_path_factory.mktemp('base'))
    model = Sa2VA(folder).eval()
    tiles = torch.randn(NUM_TILES, 3, 56, 56)
    g_pixels = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    features = model.encode_images(tiles, [NUM_TILES], g_pixels)
    cells = torch.tensor([[True, False], [True, True]])
    return Case(model, PlainFamily(folder, model.config), tiles, features, cells)


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance


def test_vision_tokens(case):
    found = case.model.image_tokens(case.features, 0).embeds
    assert_near(found, case.plain.vision_tokens(case.tiles).flatten(0, 1), 2e-5)


def test_caption_logits_with_a_visual_prompt(case):
    captions = case.model.text.encode_answers([CAPTION])
    prompt = case.plain_embeds(case.describe_text())
    states = case.plain.states(torch.cat([prompt, case.plain.embed(captions.ids[0])]))
    expected = case.plain.logits(states[len(prompt) - 1 : -1])
    assert_near(case.model.score(case.views(), captions).logits[0], expected, 1e-4)


@pytest.mark.parametrize('reads_first', [False, True])
def test_mask_logits_and_the_answer(case, reads_first):
    model = case.model
    prefix = model.read(case.features) if reads_first else None
    found = model.segment(case.views(), model.embed_expressions([EXPRESSION]), prefix)
    prompt = case.plain_embeds(case.segment_text())
    states = case.plain.states(torch.cat([prompt, case.plain.embed(model.segment_answer())]))
    states = states[len(prompt) - 1 :]
    assert_near(found.answer_logits[0], case.plain.logits(states[:-1]), 1e-4)
    seg_state = states[1:][model.segment_answer() == model.text.seg_token_id]
    zero = torch.zeros(1, dtype=torch.long)
    candidates = decode_masks(
        model.grounding_encoder, case.features.grounding, zero, model.text_hidden_fcs(seg_state)
    )
    assert_near(found.mask_logits, best_candidate(*candidates)[0], 2e-5)


def plain_greedy(case: Case, text: str, num_tokens: int, banned: list[int]) -> list[int]:
    """Token after token, each after a pass over all before it."""
    embeds, written = case.plain_embeds(text), list[int]()
    while len(written) < num_tokens:
        scores = case.plain.logits(case.plain.states(embeds)[-1])
        scores[banned] = -torch.inf
        written.append(int(scores.argmax()))
        embeds = torch.cat([embeds, case.plain.embed(torch.tensor(written[-1:]))])
    return written


def test_the_greedy_caption(case):
    model = case.model
    written = plain_greedy(case, case.describe_text(), 6, model.text.banned_token_ids)
    captions = model.describe(case.views(), 6)
    length = int(captions.in_caption.sum())
    assert captions.ids[0, :length].tolist() == written[:length]
    assert captions.texts == model.text.captions([written], 6).texts


def test_the_greedy_answer(case):
    model = case.model
    written = plain_greedy(case, case.segment_text(), 6, [])
    question = segment_question(model, case.features, EXPRESSION)
    found = answer(model, case.features, question, 6).token_ids.tolist()
    assert found == written[: len(found)]
    assert len(found) == 6 or model.text.has_ended(found)


def test_the_context_is_what_the_language_model_was_made_for(case):
    """With "longrope" Phi3 turns all positions otherwise beyond the length that it began with."""
    stated = case.model.config['llm_config']
    assert case.model.max_context == stated.get('original_max_position_embeddings', 2048)


def test_the_answer_ends_as_the_template_says(case):
    given = case.model.segment_answer().tolist()
    marker = case.template().end_of_turn
    assert marker == ('<|end|>' if case.model.config['template'] == 'phi3_chat' else '<|im_end|>')
    # Phi3's tokenizer puts a space before what follows a special token.
    assert case.model.text.find_end(given).text.replace('] .', '].') == prompts.SEGMENT_ANSWER
    assert case.model.text.has_ended(given)
    assert not case.model.text.has_ended(given[:-1])
