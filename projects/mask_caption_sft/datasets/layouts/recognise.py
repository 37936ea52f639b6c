"""Recognises a folder of images and masks."""

from collections import Counter
from collections.abc import Sequence

from ..base import RegionDataset
from ..formats.coco import COCOInstances
from ..formats.mask_folder import MaskFolder
from ..formats.mask_video import MaskVideo
from ..formats.openimages import OpenImages
from ..formats.refcoco import RefCOCO
from ..formats.sa1b import SA1B
from ..formats.sav import SAVPairs
from ..remote.listing import list_files
from ..remote.path import AnyPath, path_of
from .coco import judge_coco
from .finding import Finding, number_of
from .masks import judge_masks
from .released import judge_openimages, judge_refcoco, judge_sa1b, judge_sav

#: Layout -> dataset.
KINDS: dict[str, type[RegionDataset]] = {
    'coco': COCOInstances, 'mask_folder': MaskFolder, 'mask_video': MaskVideo, 'sa1b': SA1B, 'sav': SAVPairs,
    'openimages': OpenImages, 'refcoco': RefCOCO,
}  # fmt: skip
_NUM_NEAREST, _NUM_ENDINGS, _NUM_FOLDERS = 3, 5, 8


def recognise(path: str | AnyPath, layout: str | None = None) -> tuple[str, Finding]:
    """The folder of the data and what it is.

    Args:
        path: A folder, or a COCO file.
        layout: Its layout, a key of ``KINDS``; None finds it out.

    Raises:
        FileNotFoundError: There is nothing.
        ValueError: No layout fits, or more than one does; the message says what was found, and for the
            nearest three layouts what is missing.
    """
    path = path_of(path)
    if not path.exists():
        raise FileNotFoundError(
            f'--data {path} does not exist. Give a folder with images and masks, or a COCO file.'
        )
    chosen = None
    if path.is_file():
        chosen, path = path.name, path.parent
        if path.name.lower() in ('annotations', 'annotation', 'labels'):
            chosen, path = f'{path.name}/{chosen}', path.parent
    names = list_files(path, '*').names
    findings = _judge(path, names if chosen is None else [n for n in names if not _is_other_json(n, chosen)])
    if chosen is not None:
        findings = [finding for finding in findings if finding.layout == 'coco']
    elif layout is not None:
        findings = [finding for finding in findings if finding.layout == layout]
    fitting = [finding for finding in findings if finding.is_whole]
    fitting = [finding for finding in fitting if finding.is_special] or fitting
    if len(fitting) != 1:
        raise ValueError(_message(path, names, findings, fitting))
    return str(path), fitting[0]


def _is_other_json(name: str, chosen: str) -> bool:
    return name.lower().endswith('.json') and name != chosen


def _judge(root: AnyPath, names: list[str]) -> list[Finding]:
    judges = (judge_coco, judge_sa1b, judge_sav, judge_openimages, judge_refcoco)
    return [*(judge(root, names) for judge in judges), *judge_masks(root, names)]


def _message(path: AnyPath, names: list[str], findings: Sequence[Finding], fitting: Sequence[Finding]) -> str:
    lines = [f'--data {path} holds {contents(names)}.']
    if fitting:
        lines[0] += ' More than one layout fits; choose one with --layout.'
    else:
        lines[0] += ' No layout fits. The nearest:'
    others = [finding for finding in findings if finding not in fitting]
    others.sort(key=lambda finding: (len(finding.missing), -len(finding.found)))
    for finding in [*fitting, *others][: max(_NUM_NEAREST, len(fitting))]:
        lines.append(f'  --layout {finding.layout}: {finding.expected}')
        if finding.found:
            lines.append(f'    found: {"; ".join(finding.found)}')
        if finding.missing:
            lines.append(f'    missing: {"; ".join(finding.missing)}')
    return '\n'.join([*lines, 'Layouts of folders: docs/datasets.md.'])


def contents(names: Sequence[str]) -> str:
    """What files there are, by their endings and folders."""
    endings = Counter(
        f'*.{name.rpartition(".")[2]}' if '.' in name else 'files without an ending' for name in names
    )
    folders = sorted({name.split('/')[0] for name in names if '/' in name})
    texts = [f'{count:,} {ending}' for ending, count in endings.most_common(_NUM_ENDINGS)]
    more = f', ... ({number_of(len(folders), "folder")})' if len(folders) > _NUM_FOLDERS else ''
    below = f' in {", ".join(folders[:_NUM_FOLDERS])}{more}' if folders else ''
    return (', '.join(texts) or 'nothing') + below
