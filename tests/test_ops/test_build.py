"""Objects from config dicts."""

import fractions
import logging

import pytest
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

from projects.mask_caption_sft.ops.build import build


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_a_dict_with_a_class_becomes_its_object_and_stays_as_it_is(kind):
    config = kind(type=fractions.Fraction, numerator=3, denominator=4)
    assert build(config) == fractions.Fraction(3, 4)
    assert config['type'] is fractions.Fraction


def test_a_dict_without_a_type_takes_the_default():
    assert build(dict(numerator=3), fractions.Fraction) == 3
    assert build(dict(type=dict, numerator=3), fractions.Fraction) == {'numerator': 3}


def test_a_type_is_needed():
    with pytest.raises(KeyError, match='must contain the key "type"'):
        build(dict(numerator=3))


def test_what_is_no_dict_is_built_already():
    thing = object()
    assert build(thing) is thing
    assert build(None, fractions.Fraction) is None


def test_names_of_xtuners_builder_are_known():
    builder = pytest.importorskip('xtuner.registry').BUILDER
    builder.register_module('Half', module=lambda: fractions.Fraction(1, 2))
    try:
        assert build(dict(type='Half')) == fractions.Fraction(1, 2)
    finally:
        builder.module_dict.pop('Half')


def test_a_run_is_not_warned_for_each_object(monkeypatch, caplog):
    """Of a registry in another scope than the run's, MMEngine would say "Failed to search"."""
    scope = DefaultScope('a run of a test', scope_name='mmengine')
    monkeypatch.setattr(DefaultScope, 'get_current_instance', classmethod(lambda cls: scope))
    lines = []
    monkeypatch.setattr('mmengine.logging.print_log', lambda text, logger, level: lines.append((level, text)))
    build(dict(type=fractions.Fraction))
    assert [text for level, text in lines if level >= logging.WARNING] == []
    assert lines  # where MMEngine says what it built
