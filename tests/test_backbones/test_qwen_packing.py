"""What is asked about images of unlike sizes runs behind them in one pass, with whole prompts' states."""

import pytest
import torch

from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import Piece, join
from tests.miniature import LORA, passes_of, with_live_lora
from tests.qwen_bases import QWEN, new_qwen
from tests.qwen_batch import qwen_batch

WORDS = ['the blue star', 'red', 'the large circle']


@pytest.fixture(params=QWEN)
def model(request) -> Sa2VA:
    return with_live_lora(new_qwen(request.param, lora=LORA), 0).train()


def asked(model: Sa2VA, views1, views2) -> list[torch.Tensor]:
    """Scores of a caption of each region, and a mask from each, in one pass."""
    questions = model.ask(views1.features)
    captions = model.text.encode_answers(WORDS)
    scores = questions.score(views1, captions)
    masks = questions.segment(views2, model.embed_captions(WORDS))
    return [scores().logits[captions.mask], masks().mask_logits]


def in_whole_prompts(model: Sa2VA, views1, views2) -> list[torch.Tensor]:
    """The same, each prompt by itself."""
    captions = model.text.encode_answers(WORDS)
    logits = []
    for prompt, ids, keep in zip(model.describe_prompts(views1), captions.ids, captions.mask):
        states = model.states([join([prompt, model.embed_ids(ids[keep])])])[0]
        logits.append(model.mllm.lm_head(states[len(prompt) - 1 : -1]))
    texts = model.embed_captions(WORDS)
    masks = [model.segment(views2[row], texts[row]).mask_logits for row in torch.arange(3).split(1)]
    return [torch.cat(logits), torch.cat(masks)]


def test_states_and_gradients_are_those_of_whole_prompts(model):
    views = model.look(qwen_batch())
    trained = {n: p for n, p in model.named_parameters() if 'lora_' in n or 'merger' in n}
    results = []
    for answers in (asked(model, *views), in_whole_prompts(model, *views)):
        loss = sum((a * torch.linspace(-1, 1, a.numel()).view_as(a)).sum() for a in answers)
        results.append((answers, torch.autograd.grad(loss, list(trained.values()))))
    (found, gradients), (expected, references) = results
    for answer, reference in zip(found, expected):
        torch.testing.assert_close(answer, reference, rtol=1e-4, atol=1e-5)
    for name, gradient, reference in zip(trained, gradients, references):
        assert reference.any(), name
        scale = float(reference.abs().max())
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-4 * scale, msg=name)


def test_behind_a_prefix_they_are_the_same(model):
    model.eval()
    _, views2 = model.look(qwen_batch())
    texts = model.embed_captions(WORDS)
    expected = model.segment(views2, texts).mask_logits
    prefix = model.read(views2.features)
    torch.testing.assert_close(
        model.segment(views2, texts, prefix).mask_logits, expected, rtol=1e-4, atol=1e-5
    )
    rows = passes_of(model)
    model.segment(views2, texts, prefix)
    assert sum(n * length for n, length in rows) < 3 * len(model.segment_prompts(views2, texts)[0])


def test_what_is_written_is_the_likeliest_when_it_is_scored(model):
    """The rollout's cache and positions against a teacher-forced pass."""
    model.eval()
    views1, _ = model.look(qwen_batch())
    captions = model.describe(views1, 6, num_captions=3)
    greedy = captions[torch.arange(3)]
    logits = model.score(views1, greedy).logits
    logits[..., model.text.banned_token_ids] = -torch.inf
    mask, ids = (tensor[:, : logits.shape[1]] for tensor in (greedy.mask, greedy.ids))
    assert torch.equal(logits.argmax(-1)[mask], ids[mask])


def test_the_vit_s_residual_stream_is_float32_under_autocast(model):
    seen = []
    block = model.mllm.model.visual.blocks[1]
    block.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    with torch.autocast('cpu', torch.bfloat16):
        model.look(qwen_batch())
    assert set(seen) == {torch.float32}


def test_pieces_begin_where_those_before_them_end():
    image = Piece(torch.ones(4, 2), torch.tensor([[0] * 4, [0, 0, 1, 1], [0, 1, 0, 1]]), 3)
    image.visual, image.deep = torch.ones(4, dtype=torch.bool), torch.arange(4.0).view(1, 4, 1)
    region = image.chosen(torch.tensor([False, True, False, True]))
    whole = join([torch.zeros(2, 2), image, torch.zeros(1, 2), region, torch.zeros(1, 2)])
    assert whole.places.tolist() == [
        [0, 1, 2, 2, 2, 2, 5, 6, 6, 9],
        [0, 1, 2, 2, 3, 3, 5, 6, 7, 9],
        [0, 1, 2, 3, 2, 3, 5, 7, 7, 9],
    ]
    assert whole.length == 10
    assert whole.visual.long().tolist() == [0, 0, 1, 1, 1, 1, 0, 1, 1, 0]
    assert whole.deep.flatten().tolist() == [0, 1, 2, 3, 1, 3]
    words = join([torch.zeros(2, 2), torch.zeros(3, 2)])
    assert words.places is None
    assert words.length == 5
