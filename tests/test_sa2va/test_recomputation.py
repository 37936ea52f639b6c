"""The share of the layers that run again in the backward pass."""

import pytest
import torch

from projects.mask_caption_sft.sa2va.recomputation import num_recomputed
from tests.miniature import miniature_sa2va


@pytest.mark.parametrize(
    ('share', 'num_layers', 'number'),
    [(True, 36, 36), (False, 36, 0), (1, 36, 36), (0.5, 36, 18), (0.51, 36, 19), (0.27, 36, 10)],
)  # fmt: skip
def test_a_share_is_rounded_up_to_layers(share, num_layers, number):
    assert num_recomputed(share, num_layers) == number


def test_every_number_of_layers_follows_from_its_share():
    assert [num_recomputed(n / 60, 60) for n in range(61)] == list(range(61))


@pytest.mark.parametrize('share', [2, -0.1, float('nan'), 'half', None])
def test_what_is_no_share_is_refused_with_what_would_do(share):
    with pytest.raises(
        ValueError, match=r'activation_checkpointing=.* is no share of the layers\. Set True \(all'
    ):
        miniature_sa2va(activation_checkpointing=share)


@pytest.mark.parametrize(('share', 'runs'), [(False, [1, 1]), (0.5, [2, 1]), (True, [2, 2])])
def test_the_first_layers_run_again_and_the_last_ones_keep_what_they_need(share, runs):
    model, counts = miniature_sa2va(activation_checkpointing=share).train(), [0, 0]

    def count(place: int):
        def hook(*args) -> None:
            counts[place] += 1

        return hook

    for place, layer in enumerate(model.language_model.layers):
        layer.input_layernorm.register_forward_pre_hook(count(place))
    embeds = torch.randn(1, 5, model.embedding.shape[1], requires_grad=True)
    model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state.sum().backward()
    assert counts == runs


def test_masks_run_again_where_layers_do():
    assert miniature_sa2va(activation_checkpointing=0.5).recompute_masks
    assert not miniature_sa2va(activation_checkpointing=0.0).recompute_masks
