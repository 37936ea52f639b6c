"""All captions of a step in one loop, compared with transformers' own generation."""

import pytest
import torch

from projects.mask_caption_sft.ops.precision import without_gradient
from projects.mask_caption_sft.sa2va import rollout
from projects.mask_caption_sft.structures import join
from tests.miniature import miniature_batch, miniature_sa2va, passes_of


def generated(model, views, length: int) -> list[list[int]]:
    """Greedy ids of each region, by ``generate`` on the whole prompt, one region at a time."""
    rows = []
    for prompt in model.describe_prompts(views):
        rows += model.mllm.generate(
            inputs_embeds=prompt.embeds[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=length,
            do_sample=False,
            suppress_tokens=model.text.banned_token_ids,
            eos_token_id=None,
            pad_token_id=0,
        ).tolist()
    return rows


@pytest.fixture(scope='module')
def model():
    return miniature_sa2va().eval()


@pytest.fixture(scope='module')
def views(model):
    """Three regions; one shares its image with another, one marks more cells and has a longer prompt."""
    batch = miniature_batch([None, None], [None])
    batch.visual_prompts[1] = True
    return model.look(batch)[0]


@pytest.mark.parametrize('num_captions', [1, 4])
def test_greedy_captions_are_those_of_generate(model, views, num_captions):
    captions = model.describe(views, 12, num_captions)
    with torch.no_grad():
        expected = model.text.captions(generated(model, views, 12 + len(model.text.end_ids)), 12)
    assert captions.texts[:3] == expected.texts
    greedy = captions[torch.arange(3)]
    width = expected.ids.shape[1]
    assert torch.equal(greedy.ids[:, :width][greedy.mask[:, :width]], expected.ids[expected.mask])
    assert len(set(captions.ids[:3, 0].tolist()) | set(captions.ids[:3, 1].tolist())) > 1


def test_a_drawn_token_follows_the_model_s_own_distribution(model, views):
    """Of 4,000 captions of one region: frequencies of the first two tokens against teacher-forced scores."""
    region = views[torch.tensor([0])]
    torch.manual_seed(0)
    drawn = model.describe(region, 2, 4000).ids[1:, :2]
    first = int(drawn[:, 0].mode().values)
    after_first = drawn[drawn[:, 0] == first][:, 1]
    prompt = model.describe_prompts(region)[0]
    with torch.no_grad():
        states = model.states([join([prompt, model.embed_ids(torch.tensor([first]))])])[0][-2:]
        logits = model.mllm.lm_head(states)
    logits[:, model.text.banned_token_ids] = -torch.inf
    for chances, tokens in zip(logits.softmax(-1), (drawn[:, 0], after_first)):
        shares = torch.bincount(tokens, minlength=len(chances)) / len(tokens)
        error = 4 * (chances * (1 - chances) / len(tokens)).sqrt()
        assert ((shares - chances).abs() <= error + 1 / len(tokens)).float().mean() > 0.99
        assert (shares - chances).abs().sum() < 2.5 * (chances * (1 - chances) / len(tokens)).sqrt().sum()


def test_what_one_branch_writes_no_other_sees(model, views, monkeypatch):
    """Each of five begins with another word, and goes on with what is likeliest after that word alone."""
    first = torch.tensor(model.text.encode('red star circle blue large square')[:5]).expand(3, 5)
    banned = torch.tensor(model.text.banned_token_ids)

    def choose(self, logits):
        self._attempts.append(torch.zeros_like(first, dtype=torch.bool))
        likeliest = logits.index_fill(-1, banned, -torch.inf).argmax(-1)
        return first if len(self._attempts) == 1 else likeliest

    monkeypatch.setattr(rollout._Choice, '__call__', choose)
    captions = model.describe(views, 8, 5)
    scores = model.score(views[torch.arange(3).repeat(5)], captions)
    likeliest = scores.logits.index_fill(-1, banned, -torch.inf).argmax(-1)
    later = captions.mask & (torch.arange(captions.ids.shape[1]) > 0)
    assert later.sum() > 60
    assert torch.equal(likeliest[later], captions.ids[later])
    assert len(set(captions.texts)) > 5


def test_regions_of_one_image_read_it_once_and_each_question_once(model, views):
    rows = passes_of(model)
    model.describe(views, 5, 4)
    lengths = [len(prompt) for prompt in model.describe_prompts(views)]
    steps = [shape for shape in rows if shape == (3, 4)]
    (num_images, image), *questions = [shape for shape in rows if shape != (3, 4)]
    assert num_images == 2
    assert len(steps) <= 4 + len(model.text.end_ids)
    assert sum(n * length for n, length in questions) == sum(lengths) - 3 * image


def test_under_autocast_greedy_captions_are_those_without_a_cache(model, views):
    """In bf16 attention reads the cache in the type it computes in."""
    with torch.autocast('cpu', torch.bfloat16):
        captions = model.describe(views, 8, 2)
        with without_gradient():
            logits = model.score(views, captions[torch.arange(3)]).logits.float()
    allowed = logits.index_fill(-1, torch.tensor(model.text.banned_token_ids), -torch.inf)
    chosen = allowed.gather(-1, captions.ids[:3, : logits.shape[1], None])[..., 0]
    gap = (allowed.max(-1).values - chosen)[captions.mask[:3]]
    assert gap.max() < 0.05  # bf16 rounds a logit of 4 by up to 0.016


def test_the_model_is_left_as_it_was():
    model = miniature_sa2va(activation_checkpointing=True).train()
    views = model.look(miniature_batch([None]))[0]
    model.describe(views, 3, 2)
    layers = model.language_model.layers
    assert model.training
    assert all(layer.gradient_checkpointing and layer.training for layer in layers)
