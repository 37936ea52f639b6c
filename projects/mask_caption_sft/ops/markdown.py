"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A row of heads, a rule, and the rows.

    Args:
        heads: C of them.
        rows: C cells each.

    Raises:
        ValueError: If a row has more or fewer cells than there are heads.
    """
    lines = [_row(heads), '|' + '---|' * len(heads)]
    for cells in rows:
        if len(cells) != len(heads):
            raise ValueError(f'{list(cells)} are not the {len(heads)} cells of a row of {list(heads)}.')
        lines.append(_row(cells))
    return '\n'.join(lines)


def _row(cells: Sequence[str]) -> str:
    return '|' + ''.join(f' {cell} |' if cell else ' |' for cell in cells)
