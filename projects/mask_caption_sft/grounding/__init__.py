"""What differs between the grounding encoders of the Sa2VA family; one file per encoder."""

from .grounding_kind import GroundingKind
from .kinds import grounding_kind_of, state_grounding_kind
from .masks import best_candidate

__all__ = ['GroundingKind', 'best_candidate', 'grounding_kind_of', 'state_grounding_kind']
