"""Measures reading: npz pairs against a pack of them, a mask table of real size, one SA-1B sample.

    python tools/benchmark_data.py pack --npz data/sav_pairs --copies 20
    python tools/benchmark_data.py index --masks 10000000
    python tools/benchmark_data.py rows --rows 200000
    python tools/benchmark_data.py sample

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from _benchmark_sample import benchmark_sample

from projects.mask_caption_sft.datasets import OpenImages, PackedRegions, SAVPairs
from projects.mask_caption_sft.datasets.index.mask_filter import MaskFilter
from projects.mask_caption_sft.datasets.index.listing import Listing
from projects.mask_caption_sft.datasets.index.schema import SCHEMA, TablePart
from projects.mask_caption_sft.datasets.index.selection import Selection
from projects.mask_caption_sft.datasets.index.source import TableSource
from projects.mask_caption_sft.datasets.index.table import open_table
from projects.mask_caption_sft.datasets.packs.write import write_pack
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding, PackTask, encoding_loss
from projects.mask_caption_sft.datasets.parallel import in_order

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
    start = time.perf_counter()
    for _ in in_order(ReadRecord(dataset), range(len(dataset)), workers):
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


@dataclass(frozen=True)
class SimulatedMasks(TableSource):
    """Random masks, 100 per image, 2000 images per part."""

    num_masks: int

    KIND = 'simulated'

    def list_files(self) -> Listing:
        names = [f'sa_{i // 10000:06d}/sa_{i}.json' for i in range(self.num_masks // _MASKS_PER_IMAGE)]
        return Listing(names, np.zeros((len(names), 2), np.int64))

    def tasks(self, listing: Listing) -> list[list[int]]:
        images = range(len(listing.names))
        return [list(images[start : start + 2000]) for start in range(0, len(images), 2000)]

    def read(self, names: Sequence[str]) -> TablePart:
        rng = np.random.default_rng(int(names[0][13:-5]))
        count = len(names) * _MASKS_PER_IMAGE
        names_of = pa.array(names).take(pa.array(np.repeat(np.arange(len(names)), _MASKS_PER_IMAGE)))
        numbers = pa.array([str(i) for i in range(_MASKS_PER_IMAGE)])
        known = {
            'record': names_of, 'source': names_of, 'image': names_of,
            'reference': numbers.take(pa.array(np.tile(np.arange(_MASKS_PER_IMAGE), len(names)))),
            'touches_border': pa.array(np.zeros(count, bool)),
            **{name: pa.array(rng.random(count, np.float32))
               for name in ('area_ratio', 'predicted_iou', 'stability_score')},
        }  # fmt: skip
        columns = [known.get(field.name, pa.nulls(count, field.type)) for field in SCHEMA]
        return TablePart(pa.table(columns, schema=SCHEMA))


def private_bytes() -> int:
    """Memory of this process that is neither shared with others nor backed by a file."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('RssAnon'))) * 1024


class DrawRecords:
    """Draws records at random and reports the worker's private memory."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def __call__(self, seed: int) -> int:
        """Private bytes after 5,000 draws."""
        for row in np.random.default_rng(seed).integers(len(self.selection), size=5_000).tolist():
            self.selection[row]
        return private_bytes()


def benchmark_index(num_masks: int) -> None:
    """A table made once, selected from once, opened from then on; memory of workers as they draw."""
    with tempfile.TemporaryDirectory() as temporary:
        source, folder = SimulatedMasks(temporary, num_masks), Path(temporary) / 'table'
        start = time.perf_counter()
        table = open_table(source, [folder], 60)
        size = sum(table.info['parts'].values())
        print(f'made in {time.perf_counter() - start:.1f} s, {size / 1e6:,.0f} MB for {num_masks:,} masks')
        mask_filter = MaskFilter(min_area_ratio=0.5, min_predicted_iou=0.9)
        for state in ('first start (filters once)', 'every later start'):
            before, start = private_bytes(), time.process_time()
            chosen = table.select(['reference'], mask_filter)
            seconds, grown = time.process_time() - start, private_bytes() - before
            print(f'{state}: {seconds:.3f} s of CPU, {grown / 1e6:.1f} MB, {len(chosen):,} images')
        memory = in_order(DrawRecords(chosen), range(5), num_workers=1)
        listed = ', '.join(f'{m / 1e6:.1f}' for m in memory)
        print(f'private MB of a worker after each 5,000 draws: {listed}')
        start = time.process_time()
        DrawRecords(chosen)(0)
        print(f'a record from the table: {(time.process_time() - start) / 5_000 * 1e6:.0f} microseconds')


def open_dataset(root: str) -> tuple[float, int]:
    """Seconds and private bytes that opening OpenImages takes in a process of its own."""
    before, start = private_bytes(), time.perf_counter()
    dataset = OpenImages(data_root=root)
    dataset.get_data_info(len(dataset) // 2)
    return time.perf_counter() - start, private_bytes() - before


def benchmark_rows(num_rows: int) -> None:
    """OpenImages' table: what the process that makes the mask table needs, and what any other does."""
    with tempfile.TemporaryDirectory() as root:
        with (Path(root) / 'train-annotations-object-segmentation.csv').open('w') as file:
            file.write('MaskPath,ImageID,LabelName,BoxID,')
            file.write('BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n')
            for i in range(num_rows):
                image, box = f'{i // 3 * 7919:016x}', f'{i:08x}'
                clicks = '0.1234 0.5678 1;' * 8
                file.write(f'{image}_m01_{box}.png,{image},/m/01,{box},0.1,0.6,0.2,0.7,0.83,{clicks}\n')
        (Path(root) / 'oidv7-class-descriptions.csv').write_text('/m/01,Thing\n')
        context = multiprocessing.get_context('spawn')
        for who in ('the process that makes the table', 'any other process'):
            with context.Pool(1) as pool:
                seconds, grown = pool.apply(open_dataset, (root,))
            print(f'{who}: {seconds:.2f} s, {grown / 1e6:.2f} MB of its own for {num_rows:,} rows')


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
    index.add_argument('--masks', type=int, default=10_000_000)
    rows = what.add_parser('rows')
    rows.add_argument('--rows', type=int, default=200_000)
    sample = what.add_parser('sample')
    sample.add_argument('--repeats', type=int, default=10)
    args = parser.parse_args()
    if args.what == 'pack':
        benchmark_pack(args.npz, args.copies, args.quality)
    elif args.what == 'index':
        benchmark_index(args.masks)
    elif args.what == 'rows':
        benchmark_rows(args.rows)
    else:
        benchmark_sample(args.repeats)


if __name__ == '__main__':
    main()
