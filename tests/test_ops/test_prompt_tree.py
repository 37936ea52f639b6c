"""Prompts that share their beginnings, as one sequence."""

import pytest
import torch

from projects.mask_caption_sft.ops.prompt_tree import groups_of_like_length, is_chain, tree_layout


def test_positions_and_sight_of_a_tree_worked_by_hand():
    """An image of two tokens, two questions about it (2, 1), and an answer (1) to the first question."""
    positions, visible = tree_layout([2, 2, 1, 1], [None, 0, 0, 1])
    assert positions.tolist() == [0, 1, 2, 3, 2, 4]
    assert visible.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],  # the second question sees the image, not the first question
        [1, 1, 1, 1, 0, 1],  # the answer sees image and first question
    ]


def test_a_chain_is_an_ordinary_causal_prompt():
    positions, visible = tree_layout([2, 1, 3], [None, 0, 1])
    assert positions.tolist() == list(range(6))
    assert torch.equal(visible, torch.ones(6, 6).tril().bool())
    assert is_chain([None, 0, 1])
    assert not is_chain([None, 0, 0])
    assert not is_chain([None, None])


def test_a_piece_may_be_empty():
    positions, visible = tree_layout([1, 0, 2], [None, 0, 1])
    assert positions.tolist() == [0, 1, 2]
    assert torch.equal(visible, torch.ones(3, 3).tril().bool())


@pytest.mark.parametrize(
    ('lengths', 'expected'),
    [
        ([100, 98, 96], [[0, 1, 2]]),  # 6 of 300 are padding
        ([300, 1859, 300, 1859], [[1, 3], [0, 2]]),  # one tile beside seven
        ([100, 89], [[0], [1]]),  # 11 of 200 would be
        ([100, 90], [[0, 1]]),  # exactly a twentieth
        ([], []),
    ],
)
def test_sequences_run_together_while_a_twentieth_is_padding(lengths, expected):
    assert groups_of_like_length(lengths) == expected


def test_no_lengths_waste_more_than_a_twentieth():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        lengths = torch.randint(1, 2000, (20,), generator=generator).tolist()
        groups = groups_of_like_length(lengths)
        assert sorted(n for group in groups for n in group) == list(range(20))
        padded = sum(len(group) * max(lengths[n] for n in group) for group in groups)
        assert padded - sum(lengths) <= 0.05 * padded
