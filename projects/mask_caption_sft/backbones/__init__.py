"""What differs between the language-vision models of the Sa2VA family; one file per model."""

from .backbone import Backbone
from .families import backbone_of

__all__ = ['Backbone', 'backbone_of']
