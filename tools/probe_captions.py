"""What are a model's captions worth where nobody knows what is true of a region?

    python tools/probe_captions.py configs/mask_caption_sft_4b.py work_dirs/run/iter_4000.pth \\
        --listener configs/mask_caption_sft_qwen3_vl_4b.py pretrained/Sa2VA-Qwen3-VL-4B --out captions.json

The loop rewards captions from which its own teacher finds the region, and those may be a code between the
two. So each region of a dataset of test_dataloader is described in both views, and three things are asked
that were not taught, or not directly. Printed, as Markdown:

- *Who finds the region.* IoU in view 2 of the mask from the caption of view 1: by the model itself and, with
  --listener, by a second model that has not been trained on these captions. A code between a model's two
  halves is found by itself only; a caption that is false in one word may be found by its others. Beside it
  the IoU from the caption of another region of the image, and from none.
- *Who says the same.* The caption of view 1 with that of view 2, and with people's expressions if the dataset
  has any: the share of words that both use (Dice), the same with another region's, the share of equal ones,
  and for each kind of words how often both say the same if both say one. Of places little is to be expected:
  things move.
- *What is heard.* Each listed word of a caption is replaced by a wrong one, and dropped, as in
  tools/probe_listener.py, by each listener; a word whose loss costs no IoU is said for nothing. A wrong
  word *decides* where another caption of the image says it.

The second listener reads records with the dataset of that name in its own config, cut as it needs them;
--cfg-options apply to both configs. It may be the checkpoint from before training, or of another family; a
model that shares the first one's mistakes shows less.

--words, CHECKPOINT and --teacher are those of tools/probe_listener.py. Masks are those after the given answer
"Sure, [SEG]."; captions are greedy. The tables are on stdout, everything else on stderr.
"""

import _root  # noqa: F401
import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import groupby, islice

import numpy as np
from _config import add_checkpoint, add_config, read_tested_config
from _probed import add_probe, check_probe, dataset_to_probe, load_model, settings_data
from mmengine.config import Config
from tqdm import tqdm

from projects.mask_caption_sft.datasets.base import RegionDataset
from projects.mask_caption_sft.evaluation.caption_probe.agreement import Agreement
from projects.mask_caption_sft.evaluation.caption_probe.probe import (
    DescribedRegion,
    HeardCaptions,
    describe_record,
    hear_captions,
    others_of,
    people_pairs,
    view_pairs,
)
from projects.mask_caption_sft.evaluation.caption_probe.report import (
    agreement_data,
    agreement_table,
    found_table,
    listener_data,
    region_data,
)
from projects.mask_caption_sft.evaluation.word_probe.report import summarize, words_table
from projects.mask_caption_sft.evaluation.word_probe.word_list import WordList, read_word_list
from projects.mask_caption_sft.loop.mask_caption_sft import MaskCaptionSFT
from projects.mask_caption_sft.structures import BrokenRecord, RegionSample

#: What the model itself is called in the tables.
ITSELF = 'the model itself'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_config(parser)
    add_checkpoint(parser)
    parser.add_argument(
        '--listener',
        nargs=2,
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a second model that looks for the regions',
    )
    add_probe(parser, dataset='sav_val')
    args = parser.parse_args()
    check_probe(parser, args)
    return args


def listener_args(args: argparse.Namespace) -> argparse.Namespace:
    """Those of a tool that tests the second listener."""
    config, checkpoint = args.listener
    return argparse.Namespace(
        config=config, checkpoint=checkpoint, teacher=False, base=None, work_dir=args.work_dir,
        cfg_options=args.cfg_options,
    )  # fmt: skip


def describe(model: MaskCaptionSFT, dataset: RegionDataset, num: int) -> list[DescribedRegion]:
    """What the model says of the first ``num`` records; those that cannot be read are named and left out."""
    regions = []
    for record in tqdm(range(num), unit='image'):
        sample = dataset[record]
        if isinstance(sample, BrokenRecord):
            print(f'left out: {sample.sample_id}: {sample.reason}')
            continue
        with model.predict_precision():
            regions += describe_record(model.predictor, record, sample, model.max_caption_len)
    return regions


def hear(
    model: MaskCaptionSFT,
    dataset: RegionDataset,
    regions: Sequence[DescribedRegion],
    words: WordList,
    seed: int,
) -> HeardCaptions:
    """What a listener finds of some regions.

    Raises:
        ValueError: Its dataset holds other records.
    """
    found, others = HeardCaptions(), iter(others_of(regions))
    records = [(record, list(group)) for record, group in groupby(regions, lambda region: region.record)]
    for record, described in tqdm(records, unit='image'):
        sample = same_record(dataset, described[0])
        captions = [other.caption for other in islice(others, len(described))]
        rng = np.random.default_rng((seed, record))
        with model.predict_precision():
            found.add(hear_captions(model.predictor, sample, described, captions, words, rng))
    return found


def same_record(dataset: RegionDataset, region: DescribedRegion) -> RegionSample:
    """The record that was described, as another dataset cuts it.

    Raises:
        ValueError: It is another one there, or cannot be read.
    """
    sample = dataset[region.record] if region.record < len(dataset) else None
    if isinstance(sample, RegionSample):
        if (sample.view1.image_id, sample.view2.image_id) == region.image_ids:
            return sample
        held = f'{sample.view1.image_id} and {sample.view2.image_id}'
    else:
        held = 'nothing' if sample is None else f'what cannot be read ({sample.reason})'
    raise ValueError(
        f'Record {region.record}, {region.sample_id}, shows {" and ".join(region.image_ids)}, and for the '
        f'listener {held}. Let both configs draw the same views of the same data (--cfg-options apply to '
        'both).'
    )


def ask(
    models: dict[str, tuple[Config, str]],
    datasets: dict[str, RegionDataset],
    words: WordList,
    args: argparse.Namespace,
) -> tuple[list[DescribedRegion], dict[str, HeardCaptions]]:
    """The first model describes, all listen, one after the other: only one is in memory."""
    regions: list[DescribedRegion] = []
    heard: dict[str, HeardCaptions] = {}
    for name, (config, checkpoint) in models.items():
        model, dataset = load_model(config, checkpoint), datasets[name]
        if name == ITSELF:
            regions = describe(model, dataset, min(len(dataset), args.max_images or len(dataset)))
        heard[name] = hear(model, dataset, regions, words, args.seed)
        del model
    return regions, heard


def agreements(regions: Sequence[DescribedRegion], words: WordList) -> dict[str, Agreement]:
    """With whom captions agree, and how far; those that there are none of are left out."""
    pairs = {
        'the caption of view 2': list(view_pairs(regions)),
        "people's expressions": list(people_pairs(regions)),
    }
    return {name: Agreement.of(found, words) for name, found in pairs.items() if found}


def heading(args: argparse.Namespace, regions: Sequence[DescribedRegion]) -> str:
    """What was measured."""
    side = 'teacher' if args.teacher else 'student'
    num_images = len({region.record for region in regions})
    return (
        f'captions by the {side} of {args.checkpoint}, answers given; {num_images} records of '
        f'{args.dataset}, {len(regions)} regions; words {args.words}, seed {args.seed}'
    )


def as_json(
    args: argparse.Namespace,
    regions: Sequence[DescribedRegion],
    heard: dict[str, HeardCaptions],
    agreed: dict[str, Agreement],
    words: WordList,
) -> str:
    """Settings, the figures of the tables, and every region with what each listener found."""
    content = {
        'settings': settings_data(args),
        'listeners': {name: listener_data(found, words) for name, found in heard.items()},
        'agreement': {name: agreement_data(agreement) for name, agreement in agreed.items()},
        'regions': [region_data(region, number, heard) for number, region in enumerate(regions)],
    }
    return json.dumps(content, indent=1) + '\n'


def main() -> None:
    args = parse_args()
    with redirect_stdout(sys.stderr):  # where MMEngine's logger finds it
        models = {ITSELF: (read_tested_config(args), args.checkpoint)}
        if args.listener:
            second = listener_args(args)
            models[second.checkpoint] = (read_tested_config(second), second.checkpoint)
        try:
            words = read_word_list(args.words)
            datasets = {name: dataset_to_probe(config, args.dataset) for name, (config, _) in models.items()}
            regions, heard = ask(models, datasets, words, args)
        except (OSError, ValueError) as error:
            sys.exit(f'error: {error}')
    agreed = agreements(regions, words)
    print(f'{heading(args, regions)}\n\n{found_table(heard)}')
    if agreed:
        print(f'\n{agreement_table(agreed)}')
    for name, found in heard.items():
        print(f'\nheard by {name}\n\n{words_table(summarize(found.probe, words))}')
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(as_json(args, regions, heard, agreed, words))


if __name__ == '__main__':
    main()
