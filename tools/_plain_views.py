"""The pipeline as it was before masks stayed undecoded: every step on whole images and masks, by Pillow."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor

from projects.mask_caption_sft.datasets.raw_sample import RawSample, RawView
from projects.mask_caption_sft.datasets.tiling import tile_grid
from projects.mask_caption_sft.datasets.image_cut import Tiles
from projects.mask_caption_sft.datasets.transforms import PackRegions, SecondView
from projects.mask_caption_sft.ops.pixels import normalize_tiles
from projects.mask_caption_sft.ops.visual_prompt import visual_prompt_grid
from projects.mask_caption_sft.structures import RegionSample, View


class PlainSecondView(SecondView):
    """Crops, then changes the colours of all pixels three times."""

    def _second(self, view: RawView) -> RawView:
        masks = np.ascontiguousarray(view.masks)
        x, y, width, height = self._crop_box(masks)
        image = Image.fromarray(view.image[y : y + height, x : x + width])
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = enhance(image).enhance(1 + np.random.uniform(-self.color_ratio, self.color_ratio))
        pixels, masks = np.asarray(image), masks[:, y : y + height, x : x + width]
        if np.random.random() < self.mirror_prob:
            pixels, masks = pixels[:, ::-1], masks[:, :, ::-1]
        name = f'{view.image_id}#view2-{np.random.randint(2**31)}'
        return RawView(name, np.ascontiguousarray(pixels), np.ascontiguousarray(masks))

    def _crop_box(self, masks: np.ndarray) -> tuple[int, int, int, int]:
        full_height, full_width = masks.shape[1:]
        areas = masks.sum(axis=(1, 2))
        for _ in range(self.num_tries):
            ratio = np.random.uniform(*self.crop_ratio)
            width, height = max(1, round(full_width * ratio)), max(1, round(full_height * ratio))
            x, y = np.random.randint(full_width - width + 1), np.random.randint(full_height - height + 1)
            visible = masks[:, y : y + height, x : x + width].sum(axis=(1, 2))
            if (visible >= self.min_visible_ratio * areas).all():
                return x, y, width, height
        return 0, 0, full_width, full_height


class PlainPackRegions(PackRegions):
    """Samples whole masks as float32; tiles are float32 and normalised."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Put the :class:`RegionSample` into ``results['sample']``."""
        raw: RawSample = results['sample']
        views = [self._pack(view) for view in raw.views]
        results['sample'] = RegionSample(raw.dataset, raw.sample_id, views[0], views[-1], raw.expressions)
        return results

    def _pack(self, view: RawView) -> View:
        image, masks = Image.fromarray(view.image), torch.from_numpy(np.ascontiguousarray(view.masks))
        return View(
            image_id=view.image_id,
            pixel_values=normalize_tiles(self._tiles(image)),
            g_pixel_values=_pixels(image, (self.grounding_size, self.grounding_size)).permute(2, 0, 1),
            visual_prompts=visual_prompt_grid(masks, self.cut.grid_size),
            masks=self._shrunk(masks),
        )

    def _tiles(self, image: Image.Image) -> Tensor:
        assert isinstance(self.cut, Tiles)
        side = self.cut.size
        columns, rows = tile_grid(*image.size, side, self.cut.max_tiles)
        resized = image.resize((columns * side, rows * side), Image.Resampling.BICUBIC)
        boxes = [
            (x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(rows) for x in range(columns)
        ]
        tiles = [torch.from_numpy(np.array(resized.crop(box))) for box in boxes]
        if len(tiles) > 1:
            tiles.append(_pixels(image, (side, side)))
        return torch.stack(tiles).permute(0, 3, 1, 2).contiguous()

    def _shrunk(self, masks: Tensor) -> Tensor:
        if self.mask_size is None:
            return masks
        size = (self.mask_size, self.mask_size)
        small = F.interpolate(masks[:, None].float(), size, mode=self.mask_sampling)[:, 0].bool()
        vanished = ~small.flatten(1).any(1) & masks.flatten(1).any(1)
        if vanished.any():
            small[vanished] = visual_prompt_grid(masks[vanished], self.mask_size)
        return small


def _pixels(image: Image.Image, size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(np.array(image.resize(size, Image.Resampling.BICUBIC)))
