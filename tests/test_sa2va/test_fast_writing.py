"""Settings that make writing faster write the same captions."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from projects.mask_caption_sft.ops.precision import without_gradient
from projects.mask_caption_sft.sa2va.merged_lora import merged_lora
from projects.mask_caption_sft.sa2va.sa2va import Sa2VA
from projects.mask_caption_sft.structures import RegionViews
from tests.miniature import miniature_batch, miniature_sa2va, released_sa2va


class Operations(TorchDispatchMode):
    """Counts what torch runs."""

    num = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.num += 1
        return function(*args, **(kwargs or {}))


def views_of(model: Sa2VA, *regions: int) -> RegionViews:
    """So many regions in each image."""
    return model.look(miniature_batch(*[[None] * num for num in regions]))[0]


def autocast() -> torch.autocast:
    return torch.autocast('cpu', torch.bfloat16)


def weights_of(model: Sa2VA) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# ---------------------------------------------------------------- LoRA merged into the weights


def test_merged_weights_write_the_same_greedy_captions():
    model = miniature_sa2va().train()
    views = views_of(model, 2, 1)
    expected = model.describe(views, 12).ids
    model.merge_to_write = True
    assert torch.equal(model.describe(views, 12).ids, expected)
    for adapter in model.language_model.layers:
        adapter.self_attn.q_proj.lora_B['default'].weight.data.mul_(-3)
    assert not torch.equal(model.describe(views, 12).ids, expected)  # LoRA is in what is written


def test_states_agree_and_the_model_is_left_as_it_was():
    model = miniature_sa2va().eval()
    prompt = model.describe_prompts(views_of(model, 1))[0].embeds.detach()
    before = weights_of(model)
    with torch.no_grad():
        expected = model.states([prompt])[0]
        with merged_lora(model.language_model):
            found = model.states([prompt])[0]
        after = model.states([prompt])[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(after, expected)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_it_is_left_as_it_was_after_an_error_too():
    model = miniature_sa2va().eval()
    before = weights_of(model)
    with pytest.raises(KeyError), merged_lora(model.language_model):
        raise KeyError
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not any(m.disable_adapters for m in model.modules() if hasattr(m, 'lora_A'))


@pytest.mark.parametrize('base_dtype', ['released', 'float32'])
def test_under_autocast_a_layer_runs_far_fewer_operations(base_dtype):
    """As the 4B trains. Copies are in the type that autocast would cast the weights to anyway.

    117 of 210 and 127 of 220 with torch 2.6; less than half with 2.13.
    """
    model = released_sa2va(base_dtype).eval()
    language_model, layers = model.language_model, model.language_model.layers
    num = {}
    for merged in (False, True):
        with merged_lora(language_model) if merged else nullcontext(), without_gradient():
            for num_layers in (1, 2):
                language_model.layers = layers[:num_layers]
                with autocast(), without_gradient(), Operations() as operations:
                    language_model(inputs_embeds=torch.zeros(1, 4, 32))
                num[merged, num_layers] = operations.num
    of_one_layer = [num[merged, 2] - num[merged, 1] for merged in (True, False)]
    assert 0 < of_one_layer[0] < 0.6 * of_one_layer[1]


def test_in_half_precision_the_states_are_near():
    model = released_sa2va().eval()
    with torch.no_grad(), autocast():
        prompt = model.describe_prompts(views_of(model, 1))[0]
        expected = model.states([prompt])[0]
        with merged_lora(model.language_model):
            found = model.states([prompt])[0]
    assert found.dtype == torch.float32
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.999


# ---------------------------------------------------------------- torch.compile


@pytest.fixture
def counter(monkeypatch):
    """Everything that ``torch.compile`` does but making machine code."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend('eager')
    monkeypatch.setattr(torch, 'compile', partial(torch.compile, backend=counter))
    yield counter
    torch._dynamo.reset()


def test_compiled_steps_write_the_same_and_are_compiled_once_for_all_lengths(counter):
    model = miniature_sa2va(merge_to_write=True).eval()
    cases = [views_of(model, *regions) for regions in ((2, 1), (3, 2, 1), (2, 2))]
    expected = [model.describe(views, 6, 3).texts[: len(views)] for views in cases]
    assert counter.frame_count == 0
    model.compile_to_write = True
    assert [model.describe(views, 6, 3).texts[: len(views)] for views in cases] == expected
    # The rows of the first case are taken for the only ones; from the second on every number will do.
    assert counter.frame_count == 2


@pytest.mark.slow
def test_machine_code_writes_the_same():
    torch._dynamo.reset()
    model = miniature_sa2va().eval()
    views = views_of(model, 2)
    expected = model.describe(views, 6).ids
    model.compile_to_write = True
    assert torch.equal(model.describe(views, 6).ids, expected)
    torch._dynamo.reset()
