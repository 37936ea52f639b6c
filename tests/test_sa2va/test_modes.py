"""The modes that a pass without gradient sets, and what is there again afterwards."""

import pytest

from tests.miniature import miniature_sa2va


def modes(model) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def recomputing(model) -> list[bool]:
    return [layer.gradient_checkpointing for layer in model.language_model.layers]


@pytest.mark.parametrize('trains', [True, False])
@pytest.mark.parametrize('checkpointing', [True, False, 0.5])
def test_inside_everything_is_in_eval_mode_and_keeps_its_activations(trains, checkpointing):
    model = miniature_sa2va(activation_checkpointing=checkpointing).train(trains)
    before = modes(model)
    with model.without_recomputation():
        assert not any(modes(model).values())
        assert not any(recomputing(model))
    assert modes(model) == before
    assert recomputing(model) == [checkpointing > 0, checkpointing > 0.5]
    with pytest.raises(AttributeError), model.evaluating():
        model.nothing()
    assert modes(model) == before


def test_a_model_in_eval_mode_is_not_walked(monkeypatch):
    """A validation asks hundreds of times; the 4B has thousands of modules."""
    model = miniature_sa2va().eval()
    monkeypatch.setattr(type(model), 'train', None)
    with model.evaluating(), model.without_recomputation():
        assert not model.training
