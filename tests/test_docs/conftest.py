"""The small tiny world and the short run of the tools' tests."""

from tests.test_tools.conftest import trained, workplace

__all__ = ['trained', 'workplace']
