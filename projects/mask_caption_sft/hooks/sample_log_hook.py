"""A few captions and masks, drawn into the log."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..ops.mask import mask_iou
from ..structures import RegionBatch, RegionPrediction
from ..visualization.region_picture import contact_sheet, region_strip


class SampleLogHook(Hook):
    """Draws the first regions of each validation: image1 + mask1, the caption, image2 + mask'.

    Through MMEngine's Visualizer: to ``vis_data/vis_image`` and to TensorBoard.

    Args:
        num_samples: Regions per validation.
        datasets: Only of these datasets; None takes any.
    """

    def __init__(self, num_samples: int = 8, datasets: list[str] | None = None) -> None:
        self.num_samples, self.datasets = num_samples, datasets
        self.strips: list = []

    def before_val_epoch(self, runner: Runner) -> None:
        """Start a new sheet."""
        self.strips = []

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Draw regions until there are enough."""
        batch: RegionBatch = data_batch['batch']
        for row, prediction in enumerate(outputs):
            wanted = self.datasets is None or prediction.dataset in self.datasets
            if wanted and len(self.strips) < self.num_samples:
                self.strips.append(self._draw(batch, row, prediction))

    @staticmethod
    def _draw(batch: RegionBatch, row: int, prediction: RegionPrediction):
        found = prediction.masks['caption']
        iou = mask_iou(found[None], prediction.mask2[None]).item()
        image1, image2 = (batch.g_pixel_values[int(index[row])] for index in (batch.image1, batch.image2))
        return region_strip(image1, prediction.mask1, image2, found, prediction.caption or '', iou)

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Write the sheet."""
        if self.strips:
            runner.visualizer.add_image('samples', contact_sheet(self.strips), step=runner.iter)
