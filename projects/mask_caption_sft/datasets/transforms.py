"""From an image with masks to two views of it, as the model sees them."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from PIL import Image

from ..structures import RegionSample, UnusableRecordError, View
from .colours import change_colours
from .image_cut import ImageCut
from .image_cut import image_cut as cut_of_kind
from .lazy_masks import LazyMasks, Window
from .raw_sample import RawSample, RawView
from .resampling import RESIZERS


class ChooseRegions(BaseTransform):
    """Keep at most ``max_regions`` regions that are visible in every view, at random; only those are decoded.

    Args:
        max_regions: Largest number of regions of one image; None keeps all, in order.
        min_area_ratio: Regions that cover a smaller share of an image are not drawn.
        max_area_ratio: Regions that cover a larger share of an image are not drawn.

    Raises:
        UnusableRecordError: No region is left.
    """

    def __init__(
        self, max_regions: int | None = 4, min_area_ratio: float = 0.0, max_area_ratio: float = 1.0
    ) -> None:
        self.max_regions = max_regions
        self.min_area_ratio, self.max_area_ratio = min_area_ratio, max_area_ratio

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Drop the regions that are not drawn."""
        sample: RawSample = results['sample']
        absent = sample.is_absent()
        rows = np.flatnonzero(self._passing(sample.known_areas()) | absent)
        most = len(rows) if self.max_regions is None else self.max_regions
        if len(rows) > most:
            rows = rows[np.random.permutation(len(rows))]
        # A mask whose area is not known without decoding it is decoded only if it would be kept.
        passing = (row for row in rows.tolist() if absent[row] or self._passing(sample.areas(row)))
        kept = list(itertools.islice(passing, most))
        if not kept:
            raise UnusableRecordError(
                f'none of {len(absent)} masks is visible in both views with an area between '
                f'{self.min_area_ratio} and {self.max_area_ratio} of the image'
            )
        sample.keep_regions(kept)
        return results

    def _passing(self, areas: np.ndarray) -> np.ndarray:
        """``[...]`` bool from shares of the image ``[views, ...]``; one that is not known (NaN) passes."""
        wrong = (areas <= 0) | (areas < self.min_area_ratio) | (areas > self.max_area_ratio)
        return np.logical_not(wrong.any(axis=0))


class SecondView(BaseTransform):
    """Makes a second view of an image: cropped, rescaled, in other colours.

    A sample that has a second view already (two frames of a video) keeps it.

    Args:
        crop_ratio: Smallest and largest side of the crop, as a share of the image's side.
        color_ratio: Brightness, contrast and saturation vary by this much.
        mirror_prob: How often the view is mirrored; 0 by default, because "left" must stay left.
        min_visible_ratio: Share of each mask that the crop must keep.
        num_tries: How many crops are tried before the whole image is taken.
        prob: How often a second view is made at all; otherwise both views are the same image.
    """

    def __init__(
        self,
        crop_ratio: tuple[float, float] = (0.6, 1.0),
        color_ratio: float = 0.2,
        mirror_prob: float = 0.0,
        min_visible_ratio: float = 0.7,
        num_tries: int = 10,
        prob: float = 1.0,
    ) -> None:
        self.crop_ratio, self.color_ratio, self.mirror_prob = crop_ratio, color_ratio, mirror_prob
        self.min_visible_ratio, self.num_tries, self.prob = min_visible_ratio, num_tries, prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``view2`` where it is missing."""
        sample: RawSample = results['sample']
        if sample.view2 is None and np.random.random() < self.prob:
            sample.view2 = self._second(sample.view1)
        return results

    def _second(self, view: RawView) -> RawView:
        masks = view.lazy_masks()
        window = self._choose_window(masks, view.image.shape[:2])
        factors = [1 + np.random.uniform(-self.color_ratio, self.color_ratio) for _ in range(3)]
        is_mirrored = np.random.random() < self.mirror_prob
        pixels = np.asarray(change_colours(Image.fromarray(window.cut(view.image)), *factors))
        if is_mirrored:
            pixels, window = np.ascontiguousarray(pixels[:, ::-1]), replace(window, is_mirrored=True)
        name = f'{view.image_id}#view2-{np.random.randint(2**31)}'
        return RawView(name, pixels, masks.seen_in(window))

    def _choose_window(self, masks: LazyMasks, size: tuple[int, int]) -> Window:
        full_height, full_width = size
        whole = Window(0, 0, full_width, full_height)
        areas = masks.pixels_in(whole)
        for _ in range(self.num_tries):
            ratio = np.random.uniform(*self.crop_ratio)
            width, height = max(1, round(full_width * ratio)), max(1, round(full_height * ratio))
            x = np.random.randint(full_width - width + 1)
            y = np.random.randint(full_height - height + 1)
            window = Window(x, y, width, height)
            if (masks.pixels_in(window) >= self.min_visible_ratio * areas).all():
                return window
        return whole


class PackRegions(BaseTransform):
    """The last transform: pixels for both encoders, masks, and the visual-prompt grid.

    Args:
        max_tiles: Largest number of ViT tiles per image, without the thumbnail; 1 squashes it to one tile.
            For a base that cuts images into tiles (InternVL).
        min_pixels, max_pixels: Smaller images are enlarged, larger ones shrunk; by default as upstream does,
            to 512 and 2048 times 28 x 28. For a base that takes images whole (Qwen-VL).
        full_masks: Keep masks at the image's own size (validation) instead of the size at which
            the grounding encoder draws them.
        mask_sampling: ``'nearest'`` is what upstream does: it takes the top-left pixel of each cell,
            half a cell away from where the mask is later drawn. At a size of 256 that is 0.2 % of the
            side; at a tiny model's 32 it costs a third of the IoU, so there ``'nearest-exact'`` takes
            the pixel at the centre.
        resampling: ``'pillow'`` resizes images to the bits of upstream's preprocessing. ``'torch'`` takes a
            quarter of the time and is within two grey levels of it: enough for training, whose second views
            have other colours anyway.
        image_size: Side of a ViT tile, or cell, in pixels.
        grid_size: Side of a tile's grid of image tokens.
        grounding_size: Side of the grounding encoder's input in pixels.
        mask_size: Side of the masks that it draws; by default a quarter of its input, as SAM 2.
        image_cut: ``'tiles'`` or ``'cells'``. A config leaves these five out: the tools set them to those of
            ``model.sa2va.base`` (``engine.base_sizes.follow_base``).

    Raises:
        ValueError: A size is missing or does not go with another, ``mask_sampling`` or ``resampling`` is
            unknown, or validation would see other pixels than upstream.
    """

    #: What follows from the base.
    SIZES = ('image_size', 'grid_size', 'grounding_size', 'mask_size', 'image_cut')
    MAX_TILES = 12

    def __init__(
        self,
        max_tiles: int = MAX_TILES,
        full_masks: bool = False,
        mask_sampling: str = 'nearest',
        resampling: str = 'pillow',
        image_size: int | None = None,
        grid_size: int | None = None,
        grounding_size: int | None = None,
        mask_size: int | None = None,
        image_cut: str = 'tiles',
        min_pixels: int | None = None,
        max_pixels: int | None = None,
    ) -> None:
        if mask_sampling not in ('nearest', 'nearest-exact'):
            raise ValueError(f"mask_sampling={mask_sampling!r} is not one of 'nearest', 'nearest-exact'.")
        if resampling not in RESIZERS:
            raise ValueError(f'resampling={resampling!r} is not one of {", ".join(map(repr, RESIZERS))}.')
        if full_masks and resampling != 'pillow':
            raise ValueError(
                f'full_masks=True is for validation, which sees the pixels of upstream: leave out resampling='
                f'{resampling!r}.'
            )
        if image_size is None or grid_size is None or grounding_size is None:
            raise ValueError(
                f'PackRegions has image_size={image_size}, grid_size={grid_size}, grounding_size='
                f'{grounding_size}. The tools set them from model.sa2va.base when they read a config; '
                'in your own code call engine.base_sizes.follow_base(config), or state these three.'
            )
        self.mask_sampling, self.resampling = mask_sampling, resampling
        choices = dict(max_tiles=max_tiles, min_pixels=min_pixels, max_pixels=max_pixels)
        self.cut = cut_of_kind(image_cut, image_size, grid_size, **choices)
        self.grounding_size = grounding_size
        self.mask_size = None if full_masks else mask_size or grounding_size // 4

    @classmethod
    def cut_of(cls, declared: dict[str, Any]) -> ImageCut:
        """How a declared transform cuts images; its sizes are set."""
        values = {'max_tiles': cls.MAX_TILES} | declared
        choices = {name: values.get(name) for name in ('max_tiles', 'min_pixels', 'max_pixels')}
        kind = values.get('image_cut', 'tiles')
        return cut_of_kind(kind, values['image_size'], values['grid_size'], **choices)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Put the :class:`RegionSample` into ``results['sample']``."""
        raw: RawSample = results['sample']
        view1 = self._pack(raw.view1)
        view2 = view1 if raw.view2 is None else self._pack(raw.view2)
        results['sample'] = RegionSample(raw.dataset, raw.sample_id, view1, view2, raw.expressions)
        return results

    def _pack(self, view: RawView) -> View:
        height, width = size = view.image.shape[:2]
        resize = RESIZERS[self.resampling](view.image)
        masks = view.lazy_masks()
        if self.mask_size is None:
            packed = torch.from_numpy(np.ascontiguousarray(view.masks))
        else:
            packed = masks.shrunk(size, self.mask_size, self.mask_sampling)
        return View(
            image_id=view.image_id,
            pixel_values=self.cut.pixels(resize, (width, height)),
            g_pixel_values=resize(self.grounding_size, self.grounding_size).contiguous(),
            visual_prompts=masks.shrunk(size, self.cut.grid(width, height)),
            masks=packed,
        )
