"""One SA-1B sample of real size: processor time up to the model, and bytes from process to process."""

import copy
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from projects.mask_caption_sft.datasets import SA1B, collate_regions
from projects.mask_caption_sft.datasets.raw_sample import RawSample
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.ops.mask import encode_rle
from projects.mask_caption_sft.ops.pixels import normalize_tiles
from projects.mask_caption_sft.structures import RegionSample


def write_sample(folder: Path, size: tuple[int, int], num_masks: int) -> None:
    """One image of SA-1B's size, with ellipses of SA-1B's areas: most are small."""
    rng = np.random.default_rng(0)
    height, width = size
    y, x = np.mgrid[:height, :width]
    annotations = []
    for _ in range(num_masks):
        area = np.exp(rng.uniform(np.log(2e-4), np.log(0.2))) * height * width
        stretch, cx, cy = rng.uniform(0.5, 2), rng.uniform(0, width), rng.uniform(0, height)
        radius = (area / np.pi) ** 0.5
        mask = ((x - cx) * stretch) ** 2 + ((y - cy) / stretch) ** 2 < radius**2
        box = [max(0, cx - radius), max(0, cy - radius), radius, radius]
        annotations.append({'segmentation': encode_rle(mask), 'bbox': box, 'area': int(mask.sum())})
    info = {'width': width, 'height': height, 'file_name': 'sa_1.jpg'}
    (folder / 'sa_1.json').write_text(json.dumps({'image': info, 'annotations': annotations}))
    noise = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    Image.fromarray(noise).resize((width, height)).save(folder / 'sa_1.jpg', quality=90)


def decode_all(sample: RawSample) -> RawSample:
    """As it was when masks were decoded before they were chosen."""
    sample.view1.masks = sample.view1.masks.copy()
    return sample


def benchmark_sample(repeats: int) -> None:
    """Processor time of one SA-1B sample up to the chosen masks, and through the 4B pipeline."""
    with tempfile.TemporaryDirectory() as temporary:
        write_sample(Path(temporary), (1500, 2250), 100)
        dataset = SA1B(data_root=temporary)
        packing = PackRegions(max_tiles=6, image_size=448, grid_size=16, grounding_size=1024)
        for most in (4, 1):
            choose = ChooseRegions(most, min_area_ratio=0.001)
            seconds = []
            for prepare, finish in ((decode_all, as_float), (as_it_is, as_float), (as_it_is, as_it_is)):
                start = time.process_time()
                for seed in range(repeats):
                    np.random.seed(seed)
                    sample = prepare(dataset.read_record(dataset.get_data_info(0)))
                    results = choose.transform({'sample': sample})
                    for transform in (SecondView(), packing):
                        results = transform.transform(results)
                    finish(results['sample'])
                seconds.append((time.process_time() - start) / repeats * 1000)
            print(
                f'max_regions={most}: all masks decoded first, float32 tiles {seconds[0]:.0f} ms; the chosen '
                f'masks only {seconds[1]:.0f} ms; and tiles as bytes {seconds[2]:.0f} ms'
            )
            hand_over(results['sample'])


def as_it_is(sample):
    return sample


def as_float(sample: RegionSample) -> RegionSample:
    """As it was when tiles were normalised before they went to the main process."""
    for view in (sample.view1, sample.view2):
        view.pixel_values = normalize_tiles(view.pixel_values)
    return sample


def hand_over(sample: RegionSample) -> None:
    """What a batch of two samples is between a worker and the main process, and how long that takes."""
    found = []
    for finish in (as_it_is, as_float):
        # Collating stores an image once; the second sample is of other images.
        twin = copy.deepcopy(sample)
        for view in (twin.view1, twin.view2):
            view.image_id += ' of the second sample'
        batch = collate_regions([finish(copy.deepcopy(sample)), finish(twin)])['batch']
        size = sum(v.nbytes for v in vars(batch).values() if isinstance(v, torch.Tensor))
        size += sum(mask.nbytes for mask in (*batch.masks1, *batch.masks2))
        loader = torch.utils.data.DataLoader([batch] * 10, batch_size=None, num_workers=1)
        start = time.perf_counter()
        for _ in loader:
            pass
        found.append((size / 1e6, (time.perf_counter() - start) / 10 * 1000))
    (size, seconds), (size32, seconds32) = found
    print(
        f'  a batch of two: {size:.1f} MB and {seconds:.0f} ms from process to process, as float32 '
        f'{size32:.1f} MB and {seconds32:.0f} ms; {size / size32:.2f} of the bytes'
    )
