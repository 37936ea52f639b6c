"""What is in the data of a config, for people: Markdown from the summaries of its datasets."""

from typing import Any

from ..ops.markdown import markdown_table

_MOST_NAMED = 10
_COUNTS = ('records', 'read', 'broken', 'regions', 'texts')


def data_card(
    config: str, summaries: dict[str, dict[str, Any]], leaks: list[dict], missing: list[str]
) -> str:
    """A card with a table of all datasets, and below what is wrong with each.

    Args:
        config: Its file.
        summaries: See :func:`summarize`.
        leaks: See :class:`DataLeaks`.
        missing: Datasets that could not be opened, a sentence each.
    """
    heads = ['dataset', *_COUNTS, 'duplicates', 'black / white / grey images']
    table = markdown_table(heads, [_row(name, summary) for name, summary in summaries.items()])
    lines = [f'# Data of {config}', '', table]
    for name, summary in summaries.items():
        lines += ['', f'## {name}', '', *_of_dataset(summary)]
    lines += ['', '## Images that are trained on and validated on', '']
    lines += [_leak(leak) for leak in leaks] or ['None among the records that were read.']
    if missing:
        lines += ['', '## Could not be opened', '', *(f'- {problem}' for problem in missing)]
    return '\n'.join(lines) + '\n'


def _row(name: str, summary: dict[str, Any]) -> list[str]:
    counts = [summary[key] for key in _COUNTS]
    light = ' / '.join(str(summary['light'][key]) for key in ('black', 'white', 'grey'))
    return [name, *(f'{count:,}' for count in [*counts, len(summary['duplicates'])]), light]


def _of_dataset(summary: dict[str, Any]) -> list[str]:
    light = summary['light']
    sizes = ', '.join(f'{size} ({count:,})' for size, count in summary['sizes'].items())
    areas = ', '.join(f'{area:.2%}' for area in summary['area_ratio_0_5_50_95_100'])
    lines = [
        f'- image sizes, most frequent first: {sizes or "none"}',
        f'- area of the masks (least, 5 %, median, 95 %, most): {areas or "none"}',
        f'- mean brightness {light["mean_brightness"]:.2f}, mean saturation {light["mean_saturation"]:.2f}',
    ]
    if light['named']:
        lines.append(f'- black or white images: {_some(light["named"])}')
    if summary['faults']:
        faults = ', '.join(f'{count} {kind}' for kind, count in summary['faults'].items())
        lines.append(f'- broken: {faults}: {_some([name for name, _ in summary["broken_records"]])}')
    if summary['masks_left_out']:
        lines.append(f'- masks left out of records whose others are read: {len(summary["masks_left_out"])}')
    if summary['duplicates']:
        lines.append(
            f'- the same pixels and masks: {_some([" = ".join(ids) for ids in summary["duplicates"]])}'
        )
    if summary['channels_look_swapped']:
        lines.append('- red and blue look exchanged, judging by the colour of skin (`channel_order`)')
    return lines


def _leak(leak: dict) -> str:
    first, second, key = leak['examples'][0]
    return f'- {leak["count"]:,} of {leak["val"]} are in {leak["train"]} too: {second} and {first} ({key})'


def _some(names: list[str]) -> str:
    more = f' and {len(names) - _MOST_NAMED} more' if len(names) > _MOST_NAMED else ''
    return ', '.join(names[:_MOST_NAMED]) + more
