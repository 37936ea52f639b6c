"""Samples of real size: processor time up to the model, and bytes from process to process."""

import copy
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _plain_views import PlainPackRegions, PlainSecondView
from _real_sizes import write_records

from projects.mask_caption_sft.datasets import SA1B, OpenImages, RefCOCO, SAVPairs, collate_regions
from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.datasets.raw_sample import RawSample
from projects.mask_caption_sft.datasets.transforms import ChooseRegions, PackRegions, SecondView
from projects.mask_caption_sft.structures import RegionSample

#: Dataset, and its share of the draws of configs/_base_/datasets/mask_caption_mix.py (RefCOCO's three sets).
_MIX = {'sav': (SAVPairs, 4), 'sa1b': (SA1B, 3), 'openimages': (OpenImages, 1), 'refcoco': (RefCOCO, 3)}
_SIZES = dict(max_tiles=6, image_size=448, grid_size=16, grounding_size=1024)


class DecodeAll:
    """As it was when masks were decoded before they were chosen."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode all masks."""
        sample: RawSample = results['sample']
        for view in sample.views:
            view.masks = np.ascontiguousarray(view.masks)
        return results


def pipelines(max_regions: int) -> dict[str, list[Any]]:
    """The transforms of before, those of validation, and those of training."""
    choose = ChooseRegions(max_regions, min_area_ratio=0.001)
    return {
        'before': [DecodeAll(), choose, PlainSecondView(), PlainPackRegions(**_SIZES)],
        'pillow': [choose, SecondView(), PackRegions(**_SIZES)],
        'torch': [choose, SecondView(), PackRegions(**_SIZES, resampling='torch')],
    }


def run_once(dataset: RegionDataset, pipeline: list[Any], seed: int) -> tuple[float, RegionSample]:
    """Milliseconds of processor time for the record, and what became of it."""
    np.random.seed(seed)
    gc.collect()
    start = time.process_time()
    results: dict[str, Any] = {'sample': dataset.read_record(dataset.get_data_info(0))}
    for transform in pipeline:
        results = transform.transform(results)
    return (time.process_time() - start) * 1000, results['sample']


def benchmark_sample(repeats: int) -> None:
    """Processor time per sample of each dataset and of the mix; pipelines take turns, with the same draws.

    Garbage is collected before each sample, outside its time.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        write_records(Path(temporary))
        datasets = {name: kind(data_root=f'{temporary}/{name}') for name, (kind, _) in _MIX.items()}
        for max_regions in (1, 4):
            made = pipelines(max_regions)
            mix = dict.fromkeys(made, 0.0)
            print(f'\n{max_regions} region(s) per image; ms of processor time per sample, median (least)')
            print(f'{"":12}' + ''.join(f'{name:>16}' for name in made) + '   before / torch')
            for name, dataset in datasets.items():
                spent: dict[str, list[float]] = {kind: [] for kind in made}
                for seed in range(repeats + 1):
                    for kind, pipeline in made.items():
                        milliseconds, _ = run_once(dataset, pipeline, seed)
                        spent[kind] += [milliseconds] if seed else []  # the first one warms up
                medians = {kind: float(np.median(values)) for kind, values in spent.items()}
                for kind in made:
                    mix[kind] += _MIX[name][1] * medians[kind] / sum(share for _, share in _MIX.values())
                cells = ''.join(f'{medians[k]:>9.0f} ({min(v):>4.0f})' for k, v in spent.items())
                print(f'{name:12}{cells}{medians["before"] / medians["torch"]:>12.2f}')
            cells = ''.join(f'{value:>16.0f}' for value in mix.values())
            print(f'{"the mix":12}{cells}{mix["before"] / mix["torch"]:>12.2f}')
            hand_over(*(run_once(datasets['sa1b'], made[kind], 1)[1] for kind in ('before', 'torch')))


def hand_over(*samples: RegionSample) -> None:
    """What batches of two SA-1B samples are between a worker and the main process."""
    sizes, seconds = [], []
    for sample in samples:
        # Collating stores an image once; the second sample is of other images.
        twin = copy.deepcopy(sample)
        for view in (twin.view1, twin.view2):
            view.image_id += ' of the second sample'
        batch = collate_regions([sample, twin])['batch']
        size = sum(v.nbytes for v in vars(batch).values() if isinstance(v, torch.Tensor))
        sizes.append(size + sum(mask.nbytes for mask in (*batch.masks1, *batch.masks2)))
        loader = torch.utils.data.DataLoader([batch] * 10, batch_size=None, num_workers=1)
        start = time.perf_counter()
        for _ in loader:
            pass
        seconds.append((time.perf_counter() - start) / 10 * 1000)
    print(
        f'a batch of two of SA-1B from process to process: {sizes[0] / 1e6:.1f} MB and {seconds[0]:.0f} ms '
        f'before, {sizes[1] / 1e6:.1f} MB and {seconds[1]:.0f} ms now; {sizes[1] / sizes[0]:.2f} of the bytes'
    )
