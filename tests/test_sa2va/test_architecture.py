"""Sizes and choices of ``config.json`` reach the native modules, whatever transformers' defaults are."""

import pytest
import torch

from projects.mask_caption_sft.backbones import backbone_of
from projects.mask_caption_sft.tiny_world.base_model import tiny_config
from tests.miniature import SIZES


def mllm(**llm_config):
    config = tiny_config(40, SIZES)
    config['llm_config'].update(llm_config)
    return backbone_of(config).build(image_token_id=3)


@pytest.mark.parametrize('tied', [False, True])
def test_embeddings_and_head_are_one_matrix_only_if_the_language_model_says_so(tied):
    """InternVL's own default is False in transformers 4.57 and True in 5."""
    model = mllm(tie_word_embeddings=tied)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied


def test_rotary_positions_turn_with_the_4bs_base():
    """Pair i of a head of width 8 turns by base^(-2i/8) per position; the default base is 10,000."""
    rotary = mllm(rope_theta=1e6, rope_scaling=None).model.language_model.rotary_emb
    torch.testing.assert_close(rotary.inv_freq, torch.tensor([1.0, 10**-1.5, 10**-3.0, 10**-4.5]))
