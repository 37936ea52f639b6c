"""Chat templates: XTuner's where it imports, our own, the same, elsewhere."""

import importlib.util
import sys

import pytest

from projects.mask_caption_sft.ops import xtuner_parts
from projects.mask_caption_sft.ops.prompts import PromptTemplate
from projects.mask_caption_sft.ops.templates import TEMPLATES


@pytest.fixture
def xtuner_utils():
    return pytest.importorskip('xtuner.utils', reason='needs transformers 4.57', exc_type=ImportError)


@pytest.fixture
def parts_without_xtuner(monkeypatch):
    """The module as it is where XTuner is not installed."""
    for name in ('xtuner', 'xtuner.registry', 'xtuner.utils'):
        monkeypatch.setitem(sys.modules, name, None)
    name = xtuner_parts.__name__ + '_alone'
    spec = importlib.util.spec_from_file_location(name, xtuner_parts.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_turn_is_wrapped_as_the_released_4b_was_trained():
    template = PromptTemplate.named('phi3_chat')
    assert template == PromptTemplate('<|user|>\n', '<|end|>\n<|assistant|>\n', '<|end|>')


def test_a_turn_is_wrapped_as_the_released_1b_was_trained():
    template = PromptTemplate.named('qwen_chat')
    assert template.before_input == '<|im_start|>user\n'
    assert (template.before_answer, template.end_of_turn) == (
        '<|im_end|>\n<|im_start|>assistant\n',
        '<|im_end|>',
    )


def test_the_training_form_leaves_one_newline_out():
    assert PromptTemplate.named('phi3_chat', newline_before_answer=False).before_answer == (
        '<|end|><|assistant|>\n'
    )


def test_our_templates_are_xtuners_that_end_with_a_marker(xtuner_utils):
    theirs = {
        name: {key: template[key] for key in ('SYSTEM', 'INSTRUCTION', 'SUFFIX')}
        for name, template in xtuner_utils.PROMPT_TEMPLATE.items()
        if template.get('SUFFIX')
    }
    assert theirs == TEMPLATES


def test_templates_without_a_marker_are_refused(xtuner_utils):
    """Every caption would come out empty: each text "ends" with an empty marker at its start."""
    refused = set(xtuner_utils.PROMPT_TEMPLATE) - set(TEMPLATES)
    assert len(refused) == 18
    for name in refused:
        with pytest.raises(ValueError, match=rf"'{name}' has no end-of-turn marker. Set it to one of \["):
            PromptTemplate.named(name)


def test_an_unknown_template_is_refused_with_those_that_can_be_used():
    with pytest.raises(ValueError, match=r"'phi4' is unknown. Set it to one of \['cohere_chat', .*qwen_chat"):
        PromptTemplate.named('phi4')


def test_without_xtuner_templates_labels_and_builder_are_our_own(parts_without_xtuner):
    assert parts_without_xtuner.PROMPT_TEMPLATE is TEMPLATES
    assert parts_without_xtuner.IGNORE_INDEX == xtuner_parts.IGNORE_INDEX == -100
    assert parts_without_xtuner.BUILDER.parent is None
    assert parts_without_xtuner.BUILDER.build(dict(type=dict, a=1)) == {'a': 1}


def test_with_xtuner_they_are_xtuners(xtuner_utils):
    assert xtuner_parts.PROMPT_TEMPLATE is xtuner_utils.PROMPT_TEMPLATE
    assert xtuner_parts.BUILDER.parent is importlib.import_module('xtuner.registry').BUILDER
