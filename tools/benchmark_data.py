"""Measures reading: npz pairs against a pack of them, and an index at its real size.

    python tools/benchmark_data.py pack --npz data/sav_pairs --copies 20
    python tools/benchmark_data.py index --masks 100000000

Ratios within one run are what counts: absolute rates depend on the machine. `pack` copies the pairs so
that there is something to read, packs them, and reads both. "Cold" drops the files from the page cache first.
"""

import _root  # noqa: F401
import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from projects.mask_caption_sft.datasets import PackedRegions, SAVPairs
from projects.mask_caption_sft.datasets.index.mask_filter import MaskFilter
from projects.mask_caption_sft.datasets.index.mask_index import COLUMNS, FORMAT_VERSION, MaskIndex
from projects.mask_caption_sft.datasets.index.name_column import write_names
from projects.mask_caption_sft.datasets.packs.write import write_pack
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding, PackTask, encoding_loss
from projects.mask_caption_sft.datasets.parallel import call_task, set_task

_MASKS_PER_IMAGE = 100


class ReadRecord:
    """Reads one record, as a worker does before the transforms."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __call__(self, row: int) -> int:
        """The pixels that were read."""
        return self.dataset.read_record(self.dataset.get_data_info(row)).view1.image.size


def drop_from_cache(folder: Path) -> None:
    """Ask the kernel to drop the files from its page cache."""
    for path in folder.rglob('*'):
        if path.is_file():
            with path.open('rb') as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(dataset, workers: int) -> float:
    """Samples per second over all records."""
    with multiprocessing.Pool(workers, set_task, (ReadRecord(dataset),)) as pool:
        start = time.perf_counter()
        for _ in pool.imap_unordered(call_task, range(len(dataset)), chunksize=4):
            pass
        return len(dataset) / (time.perf_counter() - start)


def benchmark_pack(npz: Path, copies: int, quality: int) -> None:
    """Bytes and samples per second, npz against LMDB."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        sources = sorted(npz.rglob('masklet_data_*.npz'))
        for number in range(copies):
            (root / 'npz' / str(number)).mkdir(parents=True)
            for path in sources:
                shutil.copy(path, root / 'npz' / str(number) / path.name)
        pairs = SAVPairs(data_root=str(root / 'npz'))
        task = PackTask(pairs, FrameEncoding('jpeg', quality))
        write_pack(root / 'pack', range(len(pairs)), task, {}, 2)
        pack = PackedRegions(data_root=str(root / 'pack'))
        sizes = [
            sum(path.stat().st_size for path in (root / name).rglob('*') if path.is_file()) / len(pairs)
            for name in ('npz', 'pack')
        ]
        raw = pairs.read_record(pairs.get_data_info(0)).view1.image.size * 4 * 2
        loss = encoding_loss(pairs, pack)
        print(f'{len(pairs)} pairs; float32 frames alone: {raw / 1e6:.2f} MB each')
        print(f'bytes per sample: npz {sizes[0]:,.0f}, LMDB {sizes[1]:,.0f}, ratio {sizes[0] / sizes[1]:.1f}')
        print(f'JPEG {quality}: mean error {loss["mean_abs_error"]:.2f}, lowest PSNR {loss["psnr"]:.1f} dB')
        for workers in (1, 2):
            for state in ('cold', 'warm'):
                rates = []
                for name, dataset in (('npz', pairs), ('pack', pack)):
                    if state == 'cold':
                        drop_from_cache(root / name)
                    rates.append(rate(dataset, workers))
                print(
                    f'{workers} worker(s), {state}: npz {rates[0]:.1f}/s, LMDB {rates[1]:.1f}/s, '
                    f'ratio {rates[1] / rates[0]:.1f}'
                )


def simulate_index(folder: Path, num_masks: int) -> None:
    """An index of random masks, 100 per image, written column by column."""
    rng = np.random.default_rng(0)
    num_images = num_masks // _MASKS_PER_IMAGE
    for name, kind in COLUMNS.items():
        values = np.lib.format.open_memmap(folder / f'{name}.npy', 'w+', kind, (num_masks,))
        for start in range(0, num_masks, 10_000_000):
            count = min(10_000_000, num_masks - start)
            values[start : start + count] = rng.random(count, np.float32) if kind is np.float32 else 0
        values.flush()
    np.save(folder / 'ends.npy', np.arange(1, num_images + 1, dtype=np.int64) * _MASKS_PER_IMAGE)
    write_names(folder, 'names', (f'sa_{i // 10000:06d}/sa_{i}.json' for i in range(num_images)))
    text = f'{{"version": {FORMAT_VERSION}, "made": "", "signature": {{}}, "broken": {{}}}}'
    (folder / 'index.json').write_text(text)


def private_bytes() -> int:
    """Memory of this process that is neither shared with others nor backed by a file."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('RssAnon'))) * 1024


class DrawImages:
    """Draws images of an index at random and reports the worker's private memory."""

    def __init__(self, index: MaskIndex, mask_filter: MaskFilter) -> None:
        self.index, self.mask_filter = index, mask_filter

    def __call__(self, seed: int) -> int:
        """Private bytes after 20,000 draws."""
        images = self.index.usable(self.mask_filter)
        for image in np.random.default_rng(seed).integers(len(images), size=20_000).tolist():
            self.index.passing(int(images[image]), self.mask_filter)
        return private_bytes()


def benchmark_index(num_masks: int) -> None:
    """Start-up with and without the saved list of usable images, and memory of workers as they draw."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        simulate_index(folder, num_masks)
        mask_filter = MaskFilter(min_area_ratio=0.5, min_predicted_iou=0.9)
        for state in ('first start (filters once)', 'every later start'):
            before, start = private_bytes(), time.perf_counter()
            index = MaskIndex(folder)
            usable = index.usable(mask_filter)
            seconds, grown = time.perf_counter() - start, private_bytes() - before
            print(f'{state}: {seconds:.3f} s, {grown / 1e6:.0f} MB, {len(usable):,} of {len(index):,} images')
        with multiprocessing.get_context('fork').Pool(1, set_task, (DrawImages(index, mask_filter),)) as pool:
            memory = [pool.apply(call_task, (seed,)) for seed in range(5)]
        print(
            'private MB of a worker after each 20,000 draws: ' + ', '.join(f'{m / 1e6:.1f}' for m in memory)
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest='what', required=True)
    pack = what.add_parser('pack')
    pack.add_argument('--npz', type=Path, required=True)
    pack.add_argument('--copies', type=int, default=20)
    pack.add_argument('--quality', type=int, default=FrameEncoding.quality)
    index = what.add_parser('index')
    index.add_argument('--masks', type=int, default=100_000_000)
    args = parser.parse_args()
    if args.what == 'pack':
        benchmark_pack(args.npz, args.copies, args.quality)
    else:
        benchmark_index(args.masks)


if __name__ == '__main__':
    main()
