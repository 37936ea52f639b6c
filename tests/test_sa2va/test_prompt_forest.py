"""A piece's states are those it has in a prompt of its own, however much runs beside it."""

import pytest
import torch

from projects.mask_caption_sft.sa2va.prompt_forest import PromptForest
from tests.miniature import miniature_sa2va, passes_of

#: An image, two questions about it, two answers to the first, one to the second; and another image with one.
LENGTHS = {'image': 40, 'q1': 7, 'q2': 5, 'a11': 6, 'a12': 3, 'a2': 4, 'other': 23, 'q3': 6}
PARENTS = {'q1': 'image', 'q2': 'image', 'a11': 'q1', 'a12': 'q1', 'a2': 'q2', 'q3': 'other'}


def pieces(model) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    width = model.embedding.shape[1]
    return {
        name: (0.5 * torch.randn(length, width, generator=generator))
        .to(model.embedding.dtype)
        .requires_grad_()
        for name, length in LENGTHS.items()
    }


def branch(name: str) -> list[str]:
    return [*(branch(PARENTS[name]) if name in PARENTS else []), name]


def alone(model, embeds: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each piece at the end of its own prompt, one prompt at a time, as transformers runs it."""
    states = {}
    for name in LENGTHS:
        prompt = torch.cat([embeds[part] for part in branch(name)])[None]
        states[name] = model.language_model(inputs_embeds=prompt).last_hidden_state[0, -LENGTHS[name] :]
    return states


def together(
    model, embeds: dict[str, torch.Tensor], known=None, is_read: bool = True
) -> dict[str, torch.Tensor]:
    forest, numbers = PromptForest(), {}
    for name in LENGTHS:
        if name in PARENTS:
            numbers[name] = forest.add(embeds[name], after=numbers[PARENTS[name]])
        else:
            numbers[name] = forest.known_root(known[name]) if known else forest.root(embeds[name], is_read)
    states = forest.run(model.language_model)
    return {name: states[number] for name, number in numbers.items()}


def gradients(model, states: dict[str, torch.Tensor], embeds) -> dict[str, torch.Tensor]:
    weights = [p for n, p in model.language_model.named_parameters() if 'lora_' in n]
    loss = sum(
        (state * torch.linspace(-1, 1, state.numel()).view_as(state)).sum() for state in states.values()
    )
    return torch.autograd.grad(loss, [*weights, *embeds.values()], allow_unused=True)


@pytest.mark.parametrize('is_read', [True, False], ids=['read', 'unread'])
@pytest.mark.parametrize('checkpointing', [False, 0.5, True])
def test_states_and_gradients_are_those_of_separate_prompts(checkpointing, is_read):
    model = miniature_sa2va(activation_checkpointing=checkpointing).train()
    embeds = pieces(model)
    names = [name for name in LENGTHS if name in PARENTS]  # what is asked about; an image's states are not
    expected, found = alone(model, embeds), together(model, embeds, is_read=is_read)
    assert (len(found['image']) == 0) != is_read
    expected, found = ({name: states[name] for name in names} for states in (expected, found))
    for name in names:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)
    pairs = zip(gradients(model, found, embeds), gradients(model, expected, embeds))
    for gradient, reference in pairs:
        torch.testing.assert_close(gradient, reference, rtol=1e-3, atol=1e-4)


def test_unread_roots_of_unlike_length_run_in_one_batch():
    """What the longer one has more is masked like the rest."""
    model = miniature_sa2va().eval()
    width, generator = model.embedding.shape[1], torch.Generator().manual_seed(0)
    draw = lambda length: 0.5 * torch.randn(length, width, generator=generator)  # noqa: E731
    images, questions, rows = [draw(43), draw(40)], [draw(5), draw(6), draw(4)], passes_of(model)
    forest = PromptForest()
    roots = [forest.root(image, is_read=False) for image in images]
    asked = [forest.add(q, after=roots[image]) for q, image in zip(questions, (0, 1, 1))]
    states = forest.run(model.language_model)
    assert rows == [(2, 50)]
    for question, image, number in zip(questions, (0, 1, 1), asked):
        prompt = torch.cat([images[image], question])[None]
        expected = model.language_model(inputs_embeds=prompt).last_hidden_state[0, -len(question) :]
        torch.testing.assert_close(states[number], expected, rtol=1e-4, atol=1e-5)


def test_the_last_layer_leaves_out_what_is_not_read():
    model, lengths = miniature_sa2va().eval(), []
    for layer in model.language_model.layers:
        layer.mlp.register_forward_pre_hook(lambda module, args: lengths.append(args[0].shape[1]))
    together(model, pieces(model), is_read=False)
    assert lengths == [65, 25, 29, 6]


@pytest.mark.parametrize('is_read', [True, False], ids=['read', 'unread'])
def test_behind_what_has_been_read_they_are_the_same(is_read):
    model = miniature_sa2va().eval()
    embeds, forest = pieces(model), PromptForest()
    with torch.no_grad():
        for name in ('image', 'other'):
            forest.root(embeds[name], is_read)
        _, kept = forest.run_and_keep(model.language_model)
    known = dict(zip(('image', 'other'), kept))
    assert [len(known[name]) for name in known] == [40, 23]
    expected, found = alone(model, embeds), together(model, embeds, known)
    for name in PARENTS:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)
    assert len(found['image']) == 0
    # What was read is used again: running what follows it must not have changed it.
    again = together(model, embeds, known)
    assert all(torch.equal(again[name], found[name]) for name in PARENTS)


def test_gradients_reach_what_follows_and_stop_at_what_was_read():
    model = miniature_sa2va().eval()
    embeds, forest = pieces(model), PromptForest()
    with torch.no_grad():
        forest.root(embeds['image'])
        forest.root(embeds['other'])
        _, kept = forest.run_and_keep(model.language_model)
    found = together(model, embeds, dict(zip(('image', 'other'), kept)))
    expected = alone(model, embeds)
    for states in (found, expected):
        states['a11'].square().sum().backward()
        states['gradient'], embeds['q1'].grad = embeds['q1'].grad, None
    torch.testing.assert_close(found['gradient'], expected['gradient'], rtol=1e-3, atol=1e-5)


def test_each_image_runs_once():
    model = miniature_sa2va().eval()
    rows = passes_of(model)
    together(model, pieces(model))
    assert rows == [(1, 40 + 7 + 5 + 6 + 3 + 4), (1, 23 + 6)]


def test_the_longest_prompt_is_the_longest_branch():
    forest = PromptForest()
    image = forest.root(torch.zeros(10, 4))
    question = forest.add(torch.zeros(3, 4), after=image)
    forest.add(torch.zeros(5, 4), after=image)
    forest.add(torch.zeros(4, 4), after=question)
    assert forest.longest_prompt() == 17
