"""Cuts SA-V as released (videos and masklets) into pairs of frames for training.

    python tools/prepare_sav.py --videos data/sav_train --out data/packs/sav --workers 32

Reads {id}.mp4 with {id}_manual.json and {id}_auto.json in any subfolder. Annotation i is video frame 4 i;
each video is decoded once, in order. Writes a pack (``PackedRegions``) or, with --format npz, the pairs that
``SAVPairs`` reads. The same seed gives the same pairs; an interrupted run resumes; broken files are listed in
{out}/not_packed.jsonl.
"""

import _root  # noqa: F401
import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from _config import add_shards
from tqdm import tqdm

from projects.mask_caption_sft.datasets.packs.write import names_in_pack, write_pack
from projects.mask_caption_sft.datasets.packs.convert import FrameEncoding
from projects.mask_caption_sft.datasets.packs.merge import merge_packs, shard_folder
from projects.mask_caption_sft.datasets.parallel import in_order
from projects.mask_caption_sft.datasets.preparing.sav import PrepareVideo
from projects.mask_caption_sft.datasets.preparing.sav_video import PairOptions, find_videos
from projects.mask_caption_sft.datasets.shards import Shard, all_shards, check_all_there
from projects.mask_caption_sft.datasets.skip_list import read_skip_list_reasons, write_skip_list


def parse_args() -> argparse.Namespace:
    default = PairOptions()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--videos', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--format', choices=['lmdb', 'npz'], default='lmdb')
    parser.add_argument('--pairs-per-masklet', type=int, default=default.pairs_per_masklet)
    parser.add_argument(
        '--frame-distance', type=int, nargs=2, default=default.frame_distance, metavar=('LEAST', 'MOST'),
        help='video frames (24 per second) between the two views',
    )  # fmt: skip
    parser.add_argument('--min-area-ratio', type=float, default=default.min_area_ratio)
    parser.add_argument('--max-area-change', type=float, default=default.max_area_change)
    parser.add_argument('--max-aspect-change', type=float, default=default.max_aspect_change)
    parser.add_argument('--kinds', nargs='+', choices=default.kinds, default=default.kinds)
    parser.add_argument('--max-side', type=int, default=1024, help='shrink larger frames; 0 for never')
    parser.add_argument('--frames', choices=['jpeg', 'png'], default='jpeg')
    parser.add_argument('--quality', type=int, default=FrameEncoding.quality)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2)
    add_shards(parser)
    parser.add_argument(
        '--append', action='store_true', help='add the videos that the pack does not have, by name'
    )
    return parser.parse_args()


def write_pairs(faults: Path, videos: list[str], task: PrepareVideo, num_workers: int) -> None:
    """Write npz pairs, and at the end the list of faults; existing pairs are not written again."""
    broken: list[tuple[str, str]] = []
    for _, found in tqdm(in_order(task, videos, num_workers), total=len(videos), mininterval=1):
        broken += found
    faults.parent.mkdir(parents=True, exist_ok=True)
    write_skip_list(faults, broken)


def new_videos(root: Path, videos: list[str], pack: Path) -> list[str]:
    """Videos of which a pack has no pair."""
    there = {str(parent) for name in names_in_pack(pack) for parent in (Path(name), *Path(name).parents)}
    return [video for video in videos if str(Path(video).relative_to(root).with_suffix('')) not in there]


def main() -> None:
    args = parse_args()
    names = ('pairs_per_masklet', 'min_area_ratio', 'max_area_change', 'max_aspect_change', 'seed')
    options = PairOptions(
        frame_distance=(args.frame_distance[0], args.frame_distance[1]), kinds=tuple(args.kinds),
        **{name: getattr(args, name) for name in names},
    )  # fmt: skip
    videos = find_videos(args.videos)
    if not videos:
        sys.exit(
            f'error: no *.mp4 in {args.videos}. SA-V: https://ai.meta.com/datasets/segment-anything-video'
        )
    task = PrepareVideo(
        str(args.videos), options, args.max_side, FrameEncoding(args.frames, args.quality),
        str(args.out) if args.format == 'npz' else None,
    )  # fmt: skip
    if args.append and (args.shard or args.merge or args.format == 'npz'):
        sys.exit('error: --append adds to a whole pack. Leave out --shard, --merge and --format npz.')
    try:
        if args.format == 'npz':
            faults = write_npz_pairs(args, videos, task)
        else:
            faults = write_lmdb_pairs(args, videos, task)
    except ValueError as error:
        sys.exit(f'error: {error}')
    broken = faults.read_text().splitlines()
    print(f'{len(videos)} videos, {len(broken)} faults ({faults})')


def write_npz_pairs(args: argparse.Namespace, videos: list[str], task: PrepareVideo) -> Path:
    """All pairs, those of a shard, or a count of what the shards wrote; returns the list of faults."""
    faults = args.out / 'not_packed.jsonl'
    if args.merge:
        shards = {shard: shard_faults(args.out, shard) for shard in all_shards(args.merge)}
        check_all_there(shards, lambda shard: shards[shard].is_file(), str(args.out))
        write_skip_list(faults, [pair for path in shards.values() for pair in read_skip_list_reasons(path)])
    else:
        if args.shard:
            videos = [videos[row] for row in args.shard.rows(len(videos))]
            faults = shard_faults(args.out, args.shard)
        write_pairs(faults, videos, task, args.workers)
    print(f'{sum(1 for _ in args.out.rglob("masklet_data_*.npz"))} pairs in {args.out}')
    return faults


def shard_faults(out: Path, shard: Shard) -> Path:
    """What a shard could not read; written when it has finished."""
    return out / f'not_packed.{shard.name}.jsonl'


def write_lmdb_pairs(args: argparse.Namespace, videos: list[str], task: PrepareVideo) -> Path:
    """The pack, that of a shard, or the shards' packs put together; returns the list of faults."""
    options = task.options
    source = {'dataset': 'SA-V', 'max_side': args.max_side, **asdict(task.encoding), **asdict(options)}
    out = args.out
    if args.merge:
        manifest = merge_packs(out, args.merge, args.workers)
    else:
        if args.append:
            videos = new_videos(args.videos, videos, out)
        if args.shard:
            videos, out = [videos[row] for row in args.shard.rows(len(videos))], shard_folder(out, args.shard)
        manifest = write_pack(out, videos, task, source, args.workers, args.append)
    print(json.dumps(manifest, indent=1))
    return out / 'not_packed.jsonl'


if __name__ == '__main__':
    main()
