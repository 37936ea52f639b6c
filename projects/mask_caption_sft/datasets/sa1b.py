"""SA-1B: one JSON of masks per image."""

import json
import os
from pathlib import Path

import numpy as np

from ..ops.mask import decode_segmentation
from .base import RegionDataset, read_image
from .transforms import RawSample, RawView


class SA1B(RegionDataset):
    """All masks of an image; no text. The second view is a transform.

    On disk (https://ai.meta.com/datasets/segment-anything-downloads)::

        **/sa_*.jpg
        **/sa_*.json    image{image_id, width, height, file_name}
                        annotations[]{segmentation (RLE), area, predicted_iou, stability_score}

    Files are listed, not opened, at start. An image has about 100 masks of 3 million
    pixels each: ``max_masks`` of them are drawn first, and only those decoded.

    Args:
        min_predicted_iou, min_stability_score: Masks below are not drawn.
        max_masks: The most masks of one image, drawn at random; None takes all.
    """

    LAYOUT = 'Expected sa_*.json beside sa_*.jpg.'
    SOURCE = 'SA-1B, https://ai.meta.com/datasets/segment-anything-downloads'

    def __init__(
        self,
        data_root: str,
        min_predicted_iou: float = 0.0,
        min_stability_score: float = 0.0,
        max_masks: int | None = 32,
        **kwargs,
    ) -> None:
        self.max_masks = max_masks
        self.min_predicted_iou, self.min_stability_score = min_predicted_iou, min_stability_score
        super().__init__(data_root=data_root, **kwargs)

    def list_records(self) -> list[dict]:
        paths = [
            os.path.join(folder, file)
            for folder, _, files in os.walk(self.data_root)
            for file in files
            if file.endswith('.json')
        ]
        return [{'sample_id': path} for path in sorted(paths)]

    def read_record(self, record: dict) -> RawSample:
        path = Path(record['sample_id'])
        content = json.loads(path.read_text())
        info = content['image']
        image_path = path.with_name(info['file_name'])
        image = read_image(image_path)
        if image.shape[:2] != (info['height'], info['width']):
            raise ValueError(
                f'{image_path.name} is {image.shape[1]} x {image.shape[0]}, its JSON says '
                f'{info["width"]} x {info["height"]}'
            )
        masks = [
            decode_segmentation(annotation['segmentation'], info['height'], info['width'])
            for annotation in self._draw(content['annotations'])
        ]
        view = RawView(str(image_path), image, np.stack(masks))
        return RawSample(self.name, record['sample_id'], view, None, [None] * len(masks))

    def _draw(self, annotations: list[dict]) -> list[dict]:
        passing = [
            annotation
            for annotation in annotations
            if annotation.get('predicted_iou', 1.0) >= self.min_predicted_iou
            and annotation.get('stability_score', 1.0) >= self.min_stability_score
            and annotation.get('area', 1) > 0
        ]
        if not passing:
            raise ValueError(
                f'none of {len(annotations)} annotations has an area and passes '
                f'min_predicted_iou={self.min_predicted_iou} and '
                f'min_stability_score={self.min_stability_score}'
            )
        if self.max_masks is None or len(passing) <= self.max_masks:
            return passing
        rows = np.sort(np.random.choice(len(passing), self.max_masks, replace=False))
        return [passing[row] for row in rows]
