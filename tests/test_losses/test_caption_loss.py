"""Losses on the words of a caption."""

import torch

from projects.mask_caption_sft.losses import caption_loss, kl_loss


def test_the_loss_is_averaged_over_the_words_of_each_text():
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75]], [[0.9, 0.1], [0.3, 0.7]]]))
    targets = torch.tensor([[0, 1], [0, -100]])
    # -(ln 0.5 + ln 0.75) / 2 and -ln 0.9
    torch.testing.assert_close(caption_loss(logits, targets), torch.tensor([0.4904146, 0.1053605]))


def test_a_text_without_words_costs_nothing_and_has_a_graph():
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    loss = caption_loss(logits, torch.full((1, 2), -100))
    loss.sum().backward()
    assert loss.item() == 0
    assert logits.grad is not None


def test_kl_by_hand():
    p, q = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.25, 0.75]]])
    expected = 0.5 * torch.log(torch.tensor(2.0)) + 0.5 * torch.log(torch.tensor(0.5 / 0.75))
    value = kl_loss(p.log(), q.log(), torch.ones(1, 1).bool())
    torch.testing.assert_close(value, expected[None])


def test_kl_agrees_with_the_library_and_is_zero_for_itself():
    logits, other = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    mask = torch.ones(2, 3).bool()
    p, q = (
        torch.distributions.Categorical(logits=logits),
        torch.distributions.Categorical(logits=other),
    )
    expected = torch.distributions.kl_divergence(p, q).mean(1)
    torch.testing.assert_close(kl_loss(logits, other, mask), expected)
    torch.testing.assert_close(kl_loss(logits, logits, mask), torch.zeros(2))


def test_padding_does_not_count():
    logits, other = torch.randn(1, 3, 5), torch.randn(1, 3, 5)
    mask = torch.tensor([[True, False, False]])
    torch.testing.assert_close(
        kl_loss(logits, other, mask), kl_loss(logits[:, :1], other[:, :1], mask[:, :1])
    )
