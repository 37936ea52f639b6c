"""The columns of the mask table, one row per mask."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

#: Goes up whenever the columns, or what a format writes into them, change; other tables are built anew.
FORMAT_VERSION = 1

#: A column that a format does not know is null.
SCHEMA = pa.schema(
    [
        ('record', pa.string()),  # what is drawn as one: its name below the root, as in skip-lists
        ('image', pa.string()),  # file of the image (or of the pair), or the image's id
        ('source', pa.string()),  # file that lists the mask, below the root
        ('key', pa.int64()),  # CRC-32 of the bytes that the row was read from, where they are read again
        ('height', pa.int32()),  # of the image, as the annotation states it
        ('width', pa.int32()),
        ('mask', pa.string()),  # JSON of COCO segmentations, to be united; an empty list: absent
        ('reference', pa.string()),  # where the mask is, if not in the table: file, or position in source
        ('area_ratio', pa.float32()),  # share of the image, in 0..1
        ('box', pa.list_(pa.float32(), 4)),  # left, top, right, bottom in shares of the image's sides
        ('predicted_iou', pa.float32()),
        ('stability_score', pa.float32()),
        ('touches_border', pa.bool_()),
        ('label', pa.string()),  # the class, as the format names it
        ('texts', pa.list_(pa.string())),  # expressions, or the name of the class
    ]
)  # fmt: skip
#: Columns with one value per record; of the others a record has one per mask.
RECORD_COLUMNS = ('record', 'image', 'source', 'key', 'height', 'width')
#: What a :class:`MaskFilter` judges.
FILTER_COLUMNS = ('area_ratio', 'predicted_iou', 'stability_score', 'touches_border')


@dataclass
class TablePart:
    """Rows of some records, the masks of a record side by side, and what could not be read.

    Attributes:
        rows: A table of ``SCHEMA``.
        faults: ``(record, reason)``; these records are drawn as broken ones.
    """

    rows: pa.Table
    faults: list[tuple[str, str]] = field(default_factory=list)


class MaskRows:
    """Collects rows one by one."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        self.faults: list[tuple[str, str]] = []

    def add(self, **values: Any) -> None:
        """One mask; columns that are not given are null."""
        for name, column in self.values.items():
            column.append(values.get(name))

    def part(self) -> TablePart:
        """All that was added."""
        return TablePart(pa.Table.from_pydict(self.values, SCHEMA), self.faults)
