"""Two verbs: describe and segment."""

import pytest
import torch

from projects.mask_caption_sft.loop.bridges import SoftTokenBridge, StraightThroughBridge
from projects.mask_caption_sft.ops import prompts
from projects.mask_caption_sft.sa2va.generation import cut_at_end_of_turn
from projects.mask_caption_sft.structures import CaptionIds
from tests.miniature import miniature_batch, miniature_sa2va


@pytest.fixture(scope='module')
def model():
    return miniature_sa2va().eval()


@pytest.fixture(scope='module')
def batch():
    """Three regions whose prompts differ in length: one, one and four cells."""
    batch = miniature_batch([None, None], [None])
    batch.visual_prompts[2] = True
    return batch


@pytest.fixture(scope='module')
def features(model, batch):
    return model.encode_images(batch.pixel_values, batch.num_tiles, batch.g_pixel_values)


@pytest.fixture(scope='module')
def captions(model, features, batch):
    return model.describe(features, batch.image1, batch.visual_prompts, 6)


# ---------------------------------------------------------------- describe


def test_a_written_caption_is_the_likeliest_word_by_word(model, features, batch, captions):
    """The KV cache and the left padding change nothing: the teacher-forced pass agrees."""
    scores = model.caption_logits(features, batch.image1, batch.visual_prompts, captions)
    allowed = scores.logits.index_fill(-1, torch.tensor(model.text.banned_token_ids), -torch.inf)
    width = captions.ids.shape[1]
    likeliest = allowed[:, :width].argmax(-1)
    assert torch.equal(likeliest[captions.mask], captions.ids[captions.mask])


def test_a_batch_is_described_as_its_regions_alone(model, features, batch, captions):
    for row in range(len(batch)):
        alone = model.describe(features, batch.image1[[row]], batch.visual_prompts[[row]], 6)
        assert model.text.decode(alone) == model.text.decode(captions)[row : row + 1]


def test_special_tokens_cannot_be_written(model, features, batch):
    head = model.mllm.lm_head.weight
    before = head.detach().clone()
    with torch.no_grad():
        head[model.text.seg_token_id] = -1e3 * head[:10].sum(0)  # one of the two is the favourite anywhere
        head[model.text.image_token_id] = 1e3 * head[:10].sum(0)
        captions = model.describe(features, batch.image1, batch.visual_prompts, 6)
        head.copy_(before)
    assert (captions.num_banned >= captions.mask.sum(1)).all()
    assert not torch.isin(captions.ids[captions.mask], torch.tensor(model.text.banned_token_ids)).any()
    assert model.text.seg_token_id in model.text.banned_token_ids


def test_no_caption_is_longer_than_it_may_be(model, features, batch):
    assert model.describe(features, batch.image1, batch.visual_prompts, 3).ids.shape[1] <= 3


def test_several_captions_per_region_come_region_by_region(model, features, batch):
    written = model.describe(features, batch.image1, batch.visual_prompts, 4, num_captions=2, do_sample=True)
    assert len(written) == 2 * len(batch)


def test_a_caption_ends_before_the_end_of_turn(model):
    end = model.text.encode(prompts.PromptTemplate.named('phi3_chat').end_of_turn)
    words = model.text.encode('red circle')
    rows = torch.tensor([[*words, *end, *words], [*end, *words, *words]])
    attempts = torch.ones(rows.shape[1], 2, dtype=torch.bool)
    cut = cut_at_end_of_turn(rows, model.text.tokenizer, model.text.template.end_of_turn, attempts)
    assert model.text.decode(cut) == ['red circle', '']
    assert cut.mask.sum(1).tolist() == [len(words), 0]
    assert cut.num_banned.tolist() == [len(words) + 1, 1]  # the step that ended it counts


def test_prompt_and_caption_must_fit_the_context(model, features, batch):
    with pytest.raises(ValueError, match=r"exceed the model's context of 2048. Lower max_caption_len"):
        model.describe(features, batch.image1, batch.visual_prompts, 2040)


@pytest.mark.parametrize('cells', [[[1, 0], [0, 0]], [[1, 1], [0, 1]], [[1, 1], [1, 1]]])
def test_the_prompt_holds_one_token_per_marked_cell(model, features, cells):
    tokens = model._image_tokens(features)[0]
    marked = torch.tensor([cells]).bool()
    one_cell = torch.tensor([[[1, 0], [0, 0]]]).bool()
    lengths = [len(model.describe_prompt(tokens, grid)) for grid in (marked, one_cell)]
    assert lengths[0] - lengths[1] == marked.sum() - 1


# ---------------------------------------------------------------- segment


def test_exactly_one_seg_token_prompts_the_mask_decoder_per_expression(model, features, batch):
    prompts_seen = []
    handle = model.text_hidden_fcs.register_forward_hook(lambda m, i, o: prompts_seen.append(o.shape))
    result = model.segment(features, batch.image2, *model.embed_expressions(['a', 'the red circle', 'b']))
    handle.remove()
    assert (result.answer_ids == model.text.seg_token_id).sum() == 1
    assert prompts_seen == [(3, model.config['tiny_sam2']['hidden_size'])]
    assert result.mask_logits.shape == (3, 32, 32)


def test_seg_is_found_by_its_id_not_by_its_text(model):
    assert model._seg_offset(torch.tensor([5, model.text.seg_token_id, 7])) == 1
    for answer in ([5, 7], [model.text.seg_token_id] * 2):
        with pytest.raises(ValueError, match=r'tokens; exactly one is needed'):
            model._seg_offset(torch.tensor(answer))


def test_an_expression_with_a_special_token_is_refused(model):
    with pytest.raises(ValueError, match=r"'the \[SEG\] circle' contains the special token '\[SEG\]'"):
        model.embed_expressions(['the [SEG] circle'])


def test_texts_of_different_length_do_not_disturb_each_other(model, features, batch):
    texts = ['red', 'the large blue square at the top left', 'circle']
    together = model.segment(features, batch.image2, *model.embed_expressions(texts))
    for row, text in enumerate(texts):
        alone = model.segment(features, batch.image2[[row]], *model.embed_expressions([text]))
        torch.testing.assert_close(alone.mask_logits[0], together.mask_logits[row], rtol=1e-4, atol=1e-5)


def test_a_caption_is_read_as_the_same_words_of_a_person(model, features, batch):
    text = 'the red circle'
    captions = model.text.encode_answers([text])
    written = model.segment(features, batch.image2[:1], *model.embed_captions(captions))
    spoken = model.segment(features, batch.image2[:1], *model.embed_expressions([text]))
    torch.testing.assert_close(written.mask_logits, spoken.mask_logits)


def masks_through(bridge, model, features, batch, captions):
    scores = model.caption_logits(features, batch.image1, batch.visual_prompts, captions)
    banned = torch.tensor(model.text.banned_token_ids)
    logits = scores.logits[:, : captions.ids.shape[1]].index_fill(-1, banned, -torch.inf)
    text = bridge(logits, captions, model.embedding, model.first_token_map)
    return model.segment(features, batch.image2, text, captions.mask).mask_logits


def test_straight_through_segments_as_the_discrete_caption_does(model, features, batch, captions):
    discrete = model.segment(features, batch.image2, *model.embed_captions(captions)).mask_logits
    found = masks_through(StraightThroughBridge(), model, features, batch, captions)
    torch.testing.assert_close(found, discrete, rtol=1e-4, atol=1e-5)


def test_soft_tokens_segment_like_the_caption_as_the_temperature_falls(model, features, batch, captions):
    discrete = model.segment(features, batch.image2, *model.embed_captions(captions)).mask_logits
    gaps = [
        (masks_through(SoftTokenBridge(tau, 50), model, features, batch, captions) - discrete).abs().max()
        for tau in (1.0, 0.1, 1e-5)  # the two likeliest words may lie 1e-3 apart
    ]
    assert min(gaps[:2]) > 0.01
    assert gaps[2] < 1e-3


def test_an_empty_caption_still_segments(model, features, batch):
    empty = CaptionIds(torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, 1, dtype=torch.bool))
    result = model.segment(features, batch.image2, *model.embed_captions(empty))
    assert torch.isfinite(result.mask_logits).all()


# ---------------------------------------------------------------- before training


def test_the_reference_is_the_model_before_training(batch):
    model = miniature_sa2va().eval()
    features = model.encode_images(batch.pixel_values, batch.num_tiles, batch.g_pixel_values)
    caption = model.text.encode_answers(['red'] * 3)
    args = (features, batch.image1, batch.visual_prompts, caption)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'lora_B' in name:
                parameter.zero_()
        start = model.caption_logits(*args).logits
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
        with model.reference():
            torch.testing.assert_close(model.caption_logits(*args).logits, start)
        assert (model.caption_logits(*args).logits - start).abs().max() > 1e-3
    assert all(p.requires_grad for n, p in model.named_parameters() if 'lora_' in n)
