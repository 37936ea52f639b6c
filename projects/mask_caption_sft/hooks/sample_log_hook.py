"""A few captions and masks, drawn into the log."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..ops.mask import mask_iou
from ..ops.unwrapped import unwrapped
from ..structures import RegionBatch, RegionPrediction
from ..visualization.region_picture import contact_sheet, region_strip


class SampleLogHook(Hook):
    """Draws a few regions: image1 + mask1, the caption, image2 + its true mask + mask'.

    Regions of a training batch are drawn at an interval, as ``train_samples``, and the first regions
    of each validation, as ``samples``. MMEngine's Visualizer writes them to ``vis_data/vis_image``
    and to TensorBoard.

    Args:
        num_samples: Regions per picture.
        interval: Iterations between two pictures of training batches; 0 for none.
        datasets: In validation, only regions of these datasets; None takes any.
    """

    def __init__(self, num_samples: int = 8, interval: int = 1000, datasets: list[str] | None = None) -> None:
        self.num_samples, self.interval, self.datasets = num_samples, interval, datasets
        self.strips: list = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Draw regions of this batch with the model as it is now."""
        batch: RegionBatch = data_batch['batch']
        if self.interval > 0 and self.every_n_train_iters(runner, self.interval) and len(batch):
            strips = [
                _draw(batch, row, prediction)
                for row, prediction in enumerate(self._predict(runner, data_batch)[: self.num_samples])
            ]
            runner.visualizer.add_image('train_samples', contact_sheet(strips), step=runner.iter + 1)

    @staticmethod
    def _predict(runner: Runner, data_batch: Any) -> list[RegionPrediction]:
        model = unwrapped(runner.model)
        model.eval()
        predictions = model.val_step(data_batch)
        model.train()
        return predictions

    def before_val_epoch(self, runner: Runner) -> None:
        """Start a new picture."""
        self.strips = []

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Draw regions until there are enough."""
        batch: RegionBatch = data_batch['batch']
        for row, prediction in enumerate(outputs):
            wanted = self.datasets is None or prediction.dataset in self.datasets
            if wanted and len(self.strips) < self.num_samples:
                self.strips.append(_draw(batch, row, prediction))

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Write the picture."""
        if self.strips:
            runner.visualizer.add_image('samples', contact_sheet(self.strips), step=runner.iter)


def _draw(batch: RegionBatch, row: int, prediction: RegionPrediction):
    found = prediction.masks['caption'].cpu()
    iou = mask_iou(found[None], prediction.mask2[None].cpu()).item()
    image1, image2 = (
        batch.g_pixel_values[int(index[row])] for index in (batch.image_index1, batch.image_index2)
    )
    masks = prediction.mask1, image2, prediction.mask2, found
    return region_strip(image1, *masks, prediction.caption or '', iou)
