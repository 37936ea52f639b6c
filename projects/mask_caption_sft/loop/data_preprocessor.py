"""Moves a batch to the model's device."""

from mmengine.model import BaseDataPreprocessor

from ..structures import RegionBatch


class RegionDataPreprocessor(BaseDataPreprocessor):
    """Moves a :class:`RegionBatch` to the model's device; pixels are normalised in the model."""

    def cast_data(self, data):
        """``data`` on the model's device; containers are walked as MMEngine does."""
        if isinstance(data, RegionBatch):
            return data.to(self.device, non_blocking=self._non_blocking)
        return super().cast_data(data)
