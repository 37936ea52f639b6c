"""Everything that is asked in a step, answered in one pass."""

import gc
import weakref

import pytest
import torch

from projects.mask_caption_sft.ops import prompts
from tests.miniature import miniature_batch, miniature_sa2va, passes_of


@pytest.fixture
def model():
    return miniature_sa2va(activation_checkpointing=True).train()


@pytest.fixture
def batch():
    return miniature_batch([None, None], [None])


def test_answers_and_gradients_are_those_of_one_question_at_a_time(model, batch):
    views1, views2 = model.look(batch)
    rows = torch.tensor([0, 1, 2, 1])  # the second region has two captions
    captions = model.text.encode_answers(['red', 'the blue square', 'star', 'circle'])
    texts = model.embed_captions(['red', '', 'the large star'])
    questions = model.ask(views1.features)
    scores, masks = questions.score(views1[rows], captions), questions.segment(views2, texts)
    found = [scores().logits, masks().mask_logits, masks().answer_logits]
    expected_scores = [model.score(views1[rows[i : i + 1]], captions[torch.tensor([i])]) for i in range(4)]
    expected_masks = [model.segment(views2[torch.tensor([i])], texts[torch.tensor([i])]) for i in range(3)]
    expected = [
        torch.cat([s.logits for s in expected_scores]),
        torch.cat([m.mask_logits for m in expected_masks]),
        torch.cat([m.answer_logits for m in expected_masks]),
    ]
    found[0], expected[0] = (logits[captions.mask] for logits in (found[0], expected[0]))
    weights = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for tensors in (found, expected):
        for tensor, reference in zip(tensors, expected):
            torch.testing.assert_close(tensor, reference, rtol=1e-4, atol=1e-5)
        total = sum(tensor.square().mean() for tensor in tensors)
        gradients.append(torch.autograd.grad(total, weights, allow_unused=True))
    for first, second in zip(*gradients):
        assert (first is None) == (second is None)
        if first is not None:
            torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)


def test_an_image_and_a_region_run_once_however_much_is_asked_about_them(model, batch):
    views1, _ = model.look(batch)
    seen = passes_of(model)
    whole = [len(prompt) for prompt in model.describe_prompts(views1)]
    image = len(model.segment_prompts(views1, model.embed_captions([''] * 3))[0])
    image -= len(model.embed_text(prompts.SEGMENT_PREFIX))
    image -= len(model.embed_text(prompts.SEGMENT_SUFFIX + model.text.template.before_answer))
    texts = [['red', 'the blue square', 'star'], ['a', 'blue', 'red'], ['the star', 'red', 'a star']]
    captions = [model.text.encode_answers(of_each_region) for of_each_region in [*texts, texts[0]]]
    words = sum(int(three.mask.sum()) for three in captions[:3])
    questions = model.ask(views1.features)
    first, *_, again = [questions.score(views1, three) for three in captions]
    assert not seen
    assert torch.equal(first().logits, again().logits)
    # Two images, three questions, nine captions, for those asked about again run once; a twentieth may be
    # padding.
    expected = 2 * image + sum(whole) - 3 * image + words
    assert expected <= sum(rows * length for rows, length in seen) <= 1.05 * expected


def test_nothing_can_be_asked_once_the_answers_have_been_given(model, batch):
    views1, views2 = model.look(batch)
    questions = model.ask(views1.features)
    questions.score(views1, model.text.encode_answers(['a', 'b', 'c']))()
    with pytest.raises(RuntimeError, match='Ask before the first answer is read'):
        questions.segment(views2, model.embed_captions(['a', 'b', 'c']))


def test_a_prompt_longer_than_the_context_is_refused(model, batch):
    views1, _ = model.look(batch)
    with pytest.raises(ValueError, match=r"exceed the model's context of 2048. Lower max_caption_len"):
        model.score(views1, model.text.encode_answers(['red ' * 2100] * 3))


def test_a_reader_that_has_read_the_images_segments_the_same(batch):
    """Masks, and the gradient to the text, are those of whole prompts."""
    model = miniature_sa2va().eval().freeze()
    _, views2 = model.look(batch)
    texts = model.embed_captions(['red', 'the blue square', 'star'])
    results = []
    for prefix in (None, model.read(views2.features)):
        texts.embeds = texts.embeds.detach().requires_grad_()
        masks = model.segment(views2, texts, prefix).mask_logits
        masks.sigmoid().square().mean().backward()
        results.append((masks, texts.embeds.grad))
    (masks, gradient), (found_masks, found_gradient) = results
    torch.testing.assert_close(found_masks, masks, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found_gradient, gradient, rtol=1e-3, atol=1e-7)
    assert gradient.any()


# ---------------------------------------------------------------- SAM 2 encodes what is segmented


def test_sam_2_leaves_out_what_is_not_segmented(model, batch):
    seen = []
    model.grounding_encoder.vision_encoder.register_forward_hook(lambda m, i, o: seen.append(len(i[0])))
    views1, views2 = model.look(batch, segment_first=False)
    texts = model.embed_captions(['a', 'b', 'c'])
    found = model.segment(views2, texts).mask_logits
    expected = model.segment(model.look(batch)[1], texts).mask_logits
    assert seen == [2, 4]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match='in an image that SAM 2 has not encoded'):
        model.segment(views1, texts)


# ---------------------------------------------------------------- pieces are the whole prompt


@pytest.mark.parametrize('template', ['phi3_chat', 'qwen_chat'])
def test_pieces_hold_the_tokens_of_one_string_with_the_real_vocabulary(real_tokenizer, template):
    model = miniature_sa2va(tokenizer=real_tokenizer, prompt_template=template).eval()
    views1, views2 = model.look(miniature_batch([None]))
    image = prompts.IMG_START + prompts.IMG_CONTEXT * 4 + prompts.IMG_END
    before, after = model.text.template.before_input, model.text.template.before_answer
    described = (
        before + image + prompts.DESCRIBE_INTRO.format(count=1) + 'region1' + prompts.VP_START
        + prompts.IMG_CONTEXT + prompts.VP_END + prompts.describe_question() + after
    )  # fmt: skip
    segmented = before + image + prompts.SEGMENT_PREFIX + ' a red shirt' + prompts.SEGMENT_SUFFIX + after
    found = [
        model.describe_prompts(views1)[0],
        model.segment_prompts(views2, model.embed_captions(['a red shirt']))[0],
    ]
    for prompt, text in zip(found, (described, segmented)):
        ids = torch.tensor(model.text.encode(text))
        expected = model.embed_ids(ids)
        words = ids != model.text.image_token_id
        assert len(prompt) == len(ids)
        assert torch.equal(prompt.embeds[words], expected[words])


def test_what_was_asked_is_let_go_with_the_step(model, batch):
    """States and projected tokens hold the graph of a step: they must not wait for the garbage collector."""
    views1, _ = model.look(batch)
    questions = model.ask(views1.features)
    scores = questions.score(views1, model.text.encode_answers(['a', 'b', 'c']))
    scores()
    alive = weakref.ref(questions)
    gc.disable()
    try:
        del questions, scores
        assert alive() is None
    finally:
        gc.enable()
