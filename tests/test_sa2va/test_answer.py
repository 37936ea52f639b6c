"""What the model writes of its own accord, and the mask of the first [SEG] in it."""

import pytest
import torch

from projects.mask_caption_sft.sa2va import answer as module
from projects.mask_caption_sft.sa2va.answer import (
    answer,
    segment_as_written,
    segment_question,
    would_be_written,
    write,
)
from projects.mask_caption_sft.structures import RegionViews, Segmentation, join
from tests.tiny_base import as_batch, cannot_write_seg, says_instead, tiny_base, write_images

EXPRESSIONS = ['the red circle', 'star', 'the large purple square at the bottom']


@pytest.fixture(scope='module')
def batch(tmp_path_factory):
    return as_batch(write_images(tmp_path_factory.mktemp('refcoco')))


def encode(model, batch):
    return model.encode_images(batch.pixel_values, batch.num_tiles, batch.g_pixel_values)


def of_expressions(model, batch, texts=EXPRESSIONS, **kwargs):
    """Masks of texts, each in another image; the last image first."""
    views = RegionViews(encode(model, batch), torch.arange(len(texts)).flip(0))
    return segment_as_written(model, views, model.embed_expressions(texts), **kwargs)


def given_answer(*likeliest: list[int]) -> Segmentation:
    """Whose answer is 5, 9, 7; ``[SEG]`` is 9. Each row says which token is the likeliest where."""
    logits = torch.nn.functional.one_hot(torch.tensor(likeliest), 10).float()
    return Segmentation(torch.zeros(len(likeliest), 1, 1), torch.zeros(1), logits, torch.tensor([5, 9, 7]))


def test_an_answer_is_as_given_if_every_token_up_to_seg_is_the_likeliest():
    found = would_be_written(given_answer([5, 9, 7], [5, 9, 1], [5, 1, 7], [1, 9, 7]), seg_token_id=9)
    assert found.tolist() == [True, True, False, False]  # what follows [SEG] does not matter


def test_twenty_answers_that_are_taken_as_given_are_those_that_the_model_writes(batch):
    model = tiny_base()
    samples = [(int(batch.image_index2[row]), str(text)) for row, text in enumerate(batch.expressions)][:20]
    assert len(samples) == 20
    images, texts = torch.tensor([i for i, _ in samples]), [text for _, text in samples]
    views = RegionViews(encode(model, batch), images)
    found = segment_as_written(model, views, model.embed_expressions(texts))
    assert found.as_given.all()
    alone = [
        model.encode_images(
            batch.pixel_values[i : i + 1], batch.num_tiles[i : i + 1], batch.g_pixel_values[i : i + 1]
        )
        for i in range(len(batch.num_tiles))
    ]
    for row, (image, text) in enumerate(samples):
        written = answer(model, alone[image], segment_question(model, alone[image], text), max_new_tokens=20)
        assert written.text == 'Sure, [SEG].'
        torch.testing.assert_close(written.mask_logits[0], found.mask_logits[row], atol=1e-3, rtol=0)


def test_nothing_is_written_for_a_model_that_answers_as_given(batch, monkeypatch):
    monkeypatch.setattr(module, 'write', lambda *args: pytest.fail('an answer was written'))
    assert of_expressions(tiny_base(), batch).has_seg.all()


def test_a_model_that_cannot_write_seg_has_no_mask(batch):
    found = of_expressions(cannot_write_seg(tiny_base()), batch)
    assert not found.has_seg.any()
    assert not found.as_given.any()


def test_seg_is_found_after_other_words_and_gives_the_same_mask(batch):
    expected = of_expressions(tiny_base(), batch)
    model = says_instead(tiny_base(), Sure='A', **{',': '!'})
    found = of_expressions(model, batch)
    assert found.has_seg.all()
    assert not found.as_given.any()
    torch.testing.assert_close(found.mask_logits, expected.mask_logits, atol=1e-3, rtol=0)


def test_only_the_rows_that_answer_otherwise_are_written(batch, monkeypatch):
    asked = []
    monkeypatch.setattr(
        module, 'write', lambda model, questions, n: asked.append(questions) or write(model, questions, n)
    )
    taken = torch.tensor([True, False, True])
    monkeypatch.setattr(module, 'would_be_written', lambda given, seg: taken)
    model = tiny_base()
    found = of_expressions(model, batch)
    assert [len(questions) for questions in asked] == [1]
    assert found.has_seg.all()
    monkeypatch.undo()
    torch.testing.assert_close(found.mask_logits, of_expressions(model, batch).mask_logits, atol=1e-3, rtol=0)


def test_an_answer_ends_at_eos_as_upstreams_does(batch):
    model = says_instead(tiny_base(), **{',': '<|im_end|>'})  # "Sure<|im_end|> [SEG]."
    assert model.text.tokenizer.eos_token == '<|im_end|>'
    assert not of_expressions(model, batch).has_seg.any()
    features = encode(model, batch)
    found = answer(model, features, segment_question(model, features, 'star'))
    assert found.text == 'Sure'
    assert len(found.mask_logits) == 0


def test_an_answer_that_is_over_is_cut_while_others_go_on(batch):
    model = says_instead(tiny_base(), Sure='A')
    features = encode(model, batch)
    question = segment_question(model, features, 'star')
    # Asked again after its own answer, the model ends the turn at once or soon.
    over = join([question, model.embed_text('A, [SEG].')])
    first, second = write(model, [question, over], 20)
    assert second.tolist() == model.text.encode('<|end|>')
    assert model.text.seg_token_id in first
    assert first[-1] == second[-1]


def test_an_answer_without_end_is_given_up(batch):
    model = cannot_write_seg(tiny_base())
    prompt = segment_question(model, encode(model, batch), 'star')
    model.mllm.lm_head.weight.data[model.text.encode('<|end|><|im_end|>')] = 0
    assert [len(ids) for ids in write(model, [prompt, prompt.embeds[1:]], 7)] == [7, 7]
    assert not of_expressions(model, batch, max_answer_len=7).has_seg.any()


def test_an_answer_cut_before_its_seg_has_none(batch):
    model = says_instead(tiny_base(), Sure='A')  # four tokens up to [SEG]
    assert not of_expressions(model, batch, max_answer_len=3).has_seg.any()
    assert of_expressions(model, batch, max_answer_len=4).has_seg.all()


def test_answers_do_not_depend_on_recomputation(batch):
    """A layer that recomputes drops the cache of keys and values: every token would see itself only."""
    model = says_instead(tiny_base(activation_checkpointing=True), Sure='A')
    expected = of_expressions(tiny_base(), batch)
    found = of_expressions(model, batch)
    assert found.has_seg.all()
    torch.testing.assert_close(found.mask_logits, expected.mask_logits, atol=1e-3, rtol=0)
