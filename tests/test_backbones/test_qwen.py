"""A Qwen-VL checkpoint gives what transformers' own class, run plainly on whole prompts, gives."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from projects.mask_caption_sft.datasets.image_cut import Cells
from projects.mask_caption_sft.datasets.resampling import pillow_resizer
from projects.mask_caption_sft.grounding import best_candidate
from projects.mask_caption_sft.sa2va.answer import answer, segment_question
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import ImageFeatures, RegionViews
from tests.plain_qwen import PlainQwen
from tests.qwen_bases import CELL, QWEN, write_qwen_base

EXPRESSION, CAPTION = 'the red ear', 'the blue circle'
LIMITS = 12 * CELL * CELL, 40 * CELL * CELL
DESCRIBE = (
    '{before}<|vision_start|>{image}<|vision_end|>\nThere are 1 part regions in the picture: region1'
    '<vp>{region}</vp>.\n\nPlease give me a short description of the region in the picture '
    'marked by region1.<|im_end|>\n<|im_start|>assistant\n'
)
SEGMENT = (
    '{before}<|vision_start|>{image}<|vision_end|>\n Please segment '
    + EXPRESSION
    + ' in this image.<|im_end|>\n'
    '<|im_start|>assistant\n'
)
#: As upstream's inference begins: the chat template of Qwen2.5-VL has a system turn, that of Qwen3-VL none.
BEFORE = {
    'qwen3-vl': '<|im_start|>user\n',
    'qwen2.5-vl': '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n',
}


@dataclass
class Case:
    """A checkpoint loaded by the project and run plainly; an image between others, and a region in it."""

    model: Sa2VA
    plain: PlainQwen
    features: ImageFeatures
    marks: Tensor
    before: str

    def views(self) -> RegionViews:
        """The second of three images; the grid of its prompt is filled up to a larger one's."""
        cells = torch.zeros(1, 9, 9, dtype=torch.bool)
        cells[0, : self.plain.grid[0], : self.plain.grid[1]] = self.marks
        return RegionViews(self.features, torch.ones(1, dtype=torch.long), cells)

    def describe_ids(self) -> Tensor:
        region = '<|image_pad|>' * int(self.marks.sum())
        return self.plain.ids(DESCRIBE.replace('{before}', self.before).replace('{region}', region))

    def segment_ids(self) -> Tensor:
        return self.plain.ids(SEGMENT.replace('{before}', self.before))


def random_image(width: int, height: int, seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope='module', params=QWEN)
def case(request, tmp_path_factory):
    torch.manual_seed(0)
    folder = write_qwen_base(request.param, tmp_path_factory.mktemp('base'))
    model = Sa2VA(folder).eval()
    image, cut = random_image(70, 41, 0), Cells(CELL, *LIMITS)
    images = [random_image(30, 50, 1), image, random_image(33, 33, 2)]
    cells = [cut.pixels(pillow_resizer(each), each.size) for each in images]
    grids = [cut.grid(*each.size) for each in images]
    g_pixels = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    features = model.encode_images(torch.cat(cells), [len(c) for c in cells], g_pixels, grids=grids)
    plain = PlainQwen(folder, model.config, image, LIMITS, model.text.tokenizer)
    assert plain.grid == grids[1]
    marks = torch.zeros(plain.grid, dtype=torch.bool)
    marks[1:3, 2:5] = marks[3, 3] = True
    return Case(model, plain, features, marks, BEFORE[request.param])


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance


def test_vision_tokens(case):
    """Through the project's own resizing and normalisation; other images run beside it."""
    found, (tokens, deep) = case.model.image_tokens(case.features, 1), case.plain.image()
    assert_near(found.embeds, tokens, 2e-5)
    assert (0 if found.deep is None else len(found.deep)) == len(deep)
    for number, layer in enumerate(deep):
        assert_near(found.deep[number], layer, 2e-5)


def test_positions_are_the_class_s_own(case):
    prompt = segment_question(case.model, _alone(case), EXPRESSION)
    assert case.plain.positions(case.segment_ids()).tolist() == prompt.places.tolist()


def test_caption_logits_with_a_visual_prompt(case):
    captions = case.model.text.encode_answers([CAPTION])
    ids = case.describe_ids()
    states = case.plain.states_with_region(torch.cat([ids, captions.ids[0]]), case.marks)
    expected = case.plain.logits(states[len(ids) - 1 : -1])
    assert_near(case.model.score(case.views(), captions).logits[0], expected, 1e-4)


@pytest.mark.parametrize('reads_first', [False, True])
def test_mask_logits_and_the_answer(case, reads_first):
    model = case.model
    prefix = model.read(case.features) if reads_first else None
    texts = model.embed_expressions([EXPRESSION, 'star'])
    views = RegionViews(case.features, torch.tensor([1, 0]))
    found = model.segment(views, texts, prefix)
    ids = case.segment_ids()
    states = case.plain.states(torch.cat([ids, model.segment_answer()]))[len(ids) - 1 :]
    assert_near(found.answer_logits[0], case.plain.logits(states[:-1]), 1e-4)
    seg_state = states[1:][model.segment_answer() == model.text.seg_token_id]
    candidates = model.grounding_kind.decode(
        model.grounding_encoder,
        case.features.grounding,
        torch.ones(1, dtype=torch.long),
        model.text_hidden_fcs(seg_state),
    )
    assert_near(found.mask_logits[:1], best_candidate(*candidates)[0], 2e-5)


def greedy(states_of, plain: PlainQwen, ids: Tensor, num_tokens: int, banned: list[int]) -> list[int]:
    """Token after token, each after a pass over all before it."""
    written: list[int] = []
    while len(written) < num_tokens:
        scores = plain.logits(states_of(torch.cat([ids, torch.tensor(written, dtype=torch.long)]))[-1])
        scores[banned] = -torch.inf
        written.append(int(scores.argmax()))
    return written


def test_the_greedy_caption(case):
    model, plain = case.model, case.plain
    expected = greedy(
        lambda ids: plain.states_with_region(ids, case.marks),
        plain, case.describe_ids(), 8, [*model.text.banned_token_ids],
    )  # fmt: skip
    captions = model.describe(case.views(), 8, num_captions=2)
    length = int(captions.in_caption[0].sum())
    assert captions.ids[0, :length].tolist() == expected[:length]
    assert captions.texts[0] == model.text.captions([expected], 8).texts[0]


def test_the_greedy_answer(case):
    model = case.model
    expected = greedy(case.plain.states, case.plain, case.segment_ids(), 8, [case.plain.pad])
    found = answer(
        model, _alone(case), segment_question(model, _alone(case), EXPRESSION), 8
    ).token_ids.tolist()
    assert found == expected[: len(found)]
    assert len(found) == 8 or model.text.has_ended(found)


def _alone(case: Case) -> ImageFeatures:
    """The features of the image by itself."""
    begin = case.features.num_tiles[0]
    count = case.features.num_tiles[1]
    return ImageFeatures(
        case.features.vit[begin : begin + count],
        [count],
        tuple(level[1:2] for level in case.features.grounding),
        grids=[case.features.grids[1]],
    )
