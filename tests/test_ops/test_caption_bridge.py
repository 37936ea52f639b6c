"""Ways for a gradient to cross a caption."""

import pytest
import torch

from projects.mask_caption_sft.ops.caption_bridge import TokenTwins, soft_tokens, straight_through

EMBEDDING = torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]])


def test_a_soft_token_is_the_expected_embedding():
    logits = torch.log(torch.tensor([[[0.25, 0.75, 1e-12]]]))
    text = soft_tokens(logits, EMBEDDING, temperature=1.0, top_k=2)
    torch.testing.assert_close(text, torch.tensor([[[0.25, 0.75]]]))  # 0.25*(1,0) + 0.75*(0,1)


def test_halving_the_temperature_squares_the_odds():
    logits = torch.log(torch.tensor([[[0.25, 0.75, 1e-12]]]))
    text = soft_tokens(logits, EMBEDDING, temperature=0.5, top_k=2)
    torch.testing.assert_close(text, torch.tensor([[[0.1, 0.9]]]))  # 1 : 9


def test_soft_tokens_approach_the_caption_as_the_temperature_falls():
    logits, embedding = torch.randn(2, 3, 11), torch.randn(11, 5)
    exact = embedding[logits.argmax(-1)]
    gaps = [(soft_tokens(logits, embedding, t, 11) - exact).norm().item() for t in (1.0, 0.3, 0.1, 1e-5)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5


def test_a_banned_token_takes_no_part():
    logits = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    text = soft_tokens(logits, EMBEDDING, temperature=1.0, top_k=3)
    torch.testing.assert_close(text, torch.tensor([[[0.5, 0.5]]]))


#: At the first position token 0 is read as token 2; where letters are shared token 1 is read as token 0.
TWINS = TokenTwins(
    first=torch.tensor([2, 1, 0]), last=torch.tensor([0, 0, 2]), shared=torch.tensor([[False, False, True]])
)


@pytest.mark.parametrize(
    ('ids', 'shared', 'read'),
    [
        ([0, 0, 1], [False, False, True], [2, 0, 0]),
        ([0, 1, 1], [False, False, False], [2, 1, 1]),
        ([1], [True], [2]),  # first and last in one: without the marker's letters, then behind a space
    ],
)
def test_tokens_are_read_as_their_twins(ids, shared, read):
    twins = TokenTwins(TWINS.first, TWINS.last, torch.tensor([shared]))
    ids, read = torch.tensor([ids]), torch.tensor([read])
    assert torch.equal(twins.read(ids), read)
    logits = 50.0 * torch.nn.functional.one_hot(ids, 3).float()
    torch.testing.assert_close(soft_tokens(logits, EMBEDDING, 1.0, 3, twins), EMBEDDING[read])
    torch.testing.assert_close(straight_through(logits, ids, EMBEDDING, 1.0, twins), EMBEDDING[read])
    logits.requires_grad_()
    texts = (
        straight_through(logits, ids, EMBEDDING, 20.0, twins),
        soft_tokens(logits, EMBEDDING, 20.0, 3, twins),
    )
    gradients = [torch.autograd.grad(text.sum(), logits)[0] for text in texts]
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


def test_straight_through_is_exactly_the_caption_forward():
    logits, embedding = 3 * torch.randn(2, 4, 7), torch.randn(7, 5)
    ids = torch.randint(0, 7, (2, 4))
    assert torch.equal(straight_through(logits, ids, embedding, 1.0), embedding[ids])


def test_straight_through_has_the_gradient_of_the_softmax():
    logits = torch.randn(1, 2, 3, requires_grad=True)
    weight = torch.randn(1, 2, 2)
    ids = torch.zeros(1, 2, dtype=torch.long)
    (straight_through(logits, ids, EMBEDDING, 0.7) * weight).sum().backward()
    soft = logits.detach().clone().requires_grad_()
    (((soft / 0.7).softmax(-1) @ EMBEDDING) * weight).sum().backward()
    torch.testing.assert_close(logits.grad, soft.grad)


def test_the_gradient_of_soft_tokens_agrees_with_finite_differences():
    logits = torch.randn(1, 2, 5, dtype=torch.double, requires_grad=True)
    embedding = torch.randn(5, 3, dtype=torch.double)

    # The function computes in float32 inside, so the step is large and the tolerance matches.
    def bridge(x):
        return soft_tokens(x, embedding, 0.5, 5)

    assert torch.autograd.gradcheck(bridge, (logits,), eps=1e-3, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize(('temperature', 'top_k'), [(0.0, 5), (1.0, 0)])
def test_settings_that_make_no_sense_are_named(temperature, top_k):
    with pytest.raises(ValueError, match=f'temperature={temperature} and top_k={top_k}'):
        soft_tokens(torch.zeros(1, 1, 3), EMBEDDING, temperature, top_k)
