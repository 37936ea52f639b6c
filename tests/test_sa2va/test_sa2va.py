"""Two verbs: describe and segment."""

import pytest
import torch

from projects.mask_caption_sft.sa2va.generation import Sampling
from projects.mask_caption_sft.sa2va.prompt_pieces import describe_piece
from projects.mask_caption_sft.sa2va.rollout import _Choice
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from tests.miniature import miniature_batch, miniature_sa2va
from tests.scripted_writing import writes


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
def views(model, batch):
    return model.look(batch)


@pytest.fixture(scope='module')
def views1(views):
    return views[0]


@pytest.fixture(scope='module')
def views2(views):
    return views[1]


@pytest.fixture(scope='module')
def captions(model, views1):
    return model.describe(views1, 6)


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


# ---------------------------------------------------------------- describe


def test_a_written_caption_is_the_likeliest_word_by_word(model, views1, captions):
    """The KV cache and the left padding change nothing: the teacher-forced pass agrees."""
    scores = model.score(views1, captions)
    allowed = scores.logits.index_fill(-1, torch.tensor(model.text.banned_token_ids), -torch.inf)
    likeliest = allowed.argmax(-1)
    assert captions.mask.any(1).all()
    assert torch.equal(likeliest[captions.mask], captions.ids[captions.mask])


def test_a_batch_is_described_as_its_regions_alone(model, views1, captions):
    for row in range(len(views1)):
        assert model.describe(views1[rows(row)], 6).texts == captions.texts[row : row + 1]


def test_special_tokens_cannot_be_written(model, views1):
    head = model.mllm.lm_head.weight
    before = head.detach().clone()
    with torch.no_grad():
        head[model.text.seg_token_id] = -1e3 * head[:10].sum(0)  # one of the two is the favourite anywhere
        head[model.text.image_token_id] = 1e3 * head[:10].sum(0)
        captions = model.describe(views1, 6)
        head.copy_(before)
    assert (captions.num_banned >= captions.in_caption.sum(1)).all()
    assert not torch.isin(captions.ids[captions.mask], torch.tensor(model.text.banned_token_ids)).any()
    assert model.text.seg_token_id in model.text.banned_token_ids


def test_no_caption_is_longer_than_it_may_be_and_one_that_is_cut_has_no_end(model, views1):
    cut = model.describe(views1, 3)
    assert cut.in_caption.sum(1).tolist() == [3, 3, 3]
    assert not cut.has_ended.any()
    assert torch.equal(cut.mask, cut.in_caption)  # no end of turn among its tokens


def test_the_end_of_turn_is_outside_the_caption_s_length(model, views1):
    """A caption of exactly the longest length still ends, if the model ends it there."""
    end = model.text.end_ids
    words = model.text.encode('red circle')
    with writes([[*words, *end]]):
        written = model.describe(views1[rows(0)], len(words))
    assert written.texts == ['red circle']
    assert written.has_ended.tolist() == [True]
    assert written.ids.tolist() == [[*words, *end]]


def test_captions_come_greedy_ones_first_then_candidate_by_candidate(model, views1, captions):
    written = model.describe(views1, 6, num_captions=3)
    assert len(written) == 3 * len(views1)
    assert written.texts[: len(views1)] == captions.texts
    with writes([[1], [11], [12], [2], [21], [22], [3], [31], [32]], num_regions=3):
        ordered = model.describe(views1, 1, num_captions=3)
    assert ordered.ids[:, 0].tolist() == [1, 2, 3, 11, 21, 31, 12, 22, 32]


def test_sampling_follows_its_settings(model, views1, captions):
    """Only the likeliest token, however that is asked for: the greedy caption."""
    for sampling in (Sampling(top_k=1), Sampling(top_p=1e-6), Sampling(temperature=1e-4)):
        written = model.describe(views1, 6, 2, sampling)
        assert written.texts == captions.texts * 2
    assert model.describe(views1, 6, 2, Sampling(temperature=5.0)).texts[3:] != captions.texts


@pytest.mark.parametrize('wrong', [dict(temperature=0.0), dict(top_k=-1), dict(top_p=1.5)])
def test_settings_of_sampling_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=r'temperature must be positive, top_k at least 0'):
        Sampling(**wrong)


def test_broken_numbers_are_drawn_from_without_an_error_and_change_no_other_row():
    logits = torch.randn(4, 9)
    logits[:, 5] = -torch.inf
    torch.manual_seed(1)
    whole = Sampling().draw(logits)
    logits[1], logits[2, 0] = torch.nan, torch.inf
    logits[1:3, 5] = -torch.inf
    torch.manual_seed(1)
    drawn = Sampling().draw(logits)
    assert drawn[[0, 3]].tolist() == whole[[0, 3]].tolist()
    assert drawn[2] == 0
    many = Sampling().draw(logits[1].expand(500, -1))
    assert set(many.tolist()) == set(range(9)) - {5}


def test_attempts_at_special_tokens_count_up_to_the_step_that_ended_the_caption():
    choose = _Choice(Sampling(), torch.tensor([5]))
    favourites = [(5, 5), (1, 5), (5, 5)]
    for pair in favourites:
        logits = torch.zeros(1, 2, 6)
        logits[0, 0, pair[0]] = logits[0, 1, pair[1]] = 9.0
        assert (choose(logits) != 5).all()
    counted = choose.count_attempts(torch.tensor([[1], [0]]))  # captions of one token and of none
    assert counted.tolist() == [1, 1]  # steps 0 and 1; step 0


def test_prompt_and_caption_must_fit_the_context(model, views1):
    with pytest.raises(ValueError, match=r"exceed the model's context of 2048. Lower max_caption_len"):
        model.describe(views1, 2040)


@pytest.mark.parametrize('cells', [[[1, 0], [0, 0]], [[1, 1], [0, 1]], [[1, 1], [1, 1]]])
def test_the_prompt_holds_one_token_per_marked_cell(model, views1, cells):
    tokens = model.image_tokens(views1.features, 0)
    marked = torch.tensor([cells]).bool()
    one_cell = torch.tensor([[[1, 0], [0, 0]]]).bool()
    lengths = [len(describe_piece(model, tokens, grid)) for grid in (marked, one_cell)]
    assert lengths[0] - lengths[1] == marked.sum() - 1


# ---------------------------------------------------------------- segment


def test_exactly_one_seg_token_prompts_the_mask_decoder_per_expression(model, views2):
    prompts_seen = []
    handle = model.text_hidden_fcs.register_forward_hook(lambda m, i, o: prompts_seen.append(o.shape))
    result = model.segment(views2, model.embed_expressions(['a', 'the red circle', 'b']))
    handle.remove()
    assert (result.answer_ids == model.text.seg_token_id).sum() == 1
    assert prompts_seen == [(3, model.config['tiny_sam2']['hidden_size'])]
    assert result.mask_logits.shape == (3, 32, 32)


def test_seg_is_found_by_its_id_not_by_its_text(model):
    assert model.text.position_of_seg([5, model.text.seg_token_id, 7]) == 1
    for answer in ([5, 7], [model.text.seg_token_id] * 2):
        with pytest.raises(ValueError, match=r'tokens; exactly one is needed'):
            model.text.position_of_seg(answer)


def test_an_expression_with_a_special_token_is_refused(model):
    with pytest.raises(ValueError, match=r"'the \[SEG\] circle' contains the special token '\[SEG\]'"):
        model.embed_expressions(['the [SEG] circle'])


def test_texts_of_different_length_do_not_disturb_each_other(model, views2):
    texts = ['red', 'the large blue square at the top left', 'circle']
    together = model.segment(views2, model.embed_expressions(texts))
    for row, text in enumerate(texts):
        alone = model.segment(views2[rows(row)], model.embed_expressions([text]))
        torch.testing.assert_close(alone.mask_logits[0], together.mask_logits[row], rtol=1e-4, atol=1e-5)


def test_a_caption_is_read_as_the_same_words_of_a_person(model):
    written, spoken = (embed(['the red circle']) for embed in (model.embed_captions, model.embed_expressions))
    assert torch.equal(written.embeds, spoken.embeds)
    assert torch.equal(written.mask, spoken.mask)


def test_an_empty_caption_still_segments(model, views2):
    result = model.segment(views2, model.embed_captions(['', 'red', ' ']))
    assert torch.isfinite(result.mask_logits).all()


def test_a_special_token_that_a_model_has_spelled_stays_spelled(model):
    """Exactly one [SEG] reaches the mask decoder, whatever a caption says."""
    ids = model.text.encode_captions(['the [SEG] circle <vp>'])[0]
    assert model.text.tokenizer.decode(ids) == ' the [SEG] circle <vp>'
    assert not set(ids) & set(model.text.tokenizer.added_tokens_decoder)


# ---------------------------------------------------------------- before training


def test_the_reference_is_the_model_before_training(batch):
    model = miniature_sa2va().eval()
    views1, _ = model.look(batch)
    answers = model.text.encode_answers(['red'] * 3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'lora_B' in name:
                parameter.zero_()
        start = model.score(views1, answers).logits
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
        torch.testing.assert_close(model.score_at_start(views1, answers).logits, start)
        assert (model.score(views1, answers).logits - start).abs().max() > 1e-3
    assert all(p.requires_grad for n, p in model.named_parameters() if 'lora_' in n)


# ---------------------------------------------------------------- the base's own settings


def test_the_template_is_the_one_that_the_checkpoint_states():
    model = miniature_sa2va()
    assert model.text.template.end_of_turn == '<|end|>'
    config = {**model.config, 'template': 'qwen_chat'}
    qwen = Sa2VA(config=config, tokenizer=model.text.tokenizer)
    assert qwen.text.template.end_of_turn == '<|im_end|>'
    assert Sa2VA(
        config=config, tokenizer=model.text.tokenizer, prompt_template='phi3_chat'
    ).text.template == (model.text.template)


def test_a_checkpoint_that_states_no_template_has_to_be_given_one():
    model = miniature_sa2va()
    config = {key: value for key, value in model.config.items() if key != 'template'}
    with pytest.raises(ValueError, match=r'states no "template". Add .* set model.sa2va.prompt_template'):
        Sa2VA(config=config, tokenizer=model.text.tokenizer)
