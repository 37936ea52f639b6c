"""What XTuner lends: its builder, its chat templates and the label that no loss counts.

Where XTuner does not import (it needs transformers 4.57), the same things come from MMEngine and
from :mod:`.templates`.
"""

from mmengine.registry import Registry

from .templates import TEMPLATES

__all__ = ['BUILDER', 'IGNORE_INDEX', 'PROMPT_TEMPLATE']

try:
    from xtuner.registry import BUILDER as _XTUNER_BUILDER
except ImportError:
    _XTUNER_BUILDER = None

try:
    from xtuner.utils import IGNORE_INDEX, PROMPT_TEMPLATE
except ImportError:
    IGNORE_INDEX, PROMPT_TEMPLATE = -100, TEMPLATES

#: Finds every name in XTuner's BUILDER. Its scope is the one of a run (``default_scope``): in
#: another, MMEngine warns once for each object that it builds.
BUILDER = Registry('builder', parent=_XTUNER_BUILDER, scope='mmengine')
