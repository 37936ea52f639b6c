"""One record of a packed dataset as bytes, and the manifest of a pack."""

import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

FORMAT_VERSION = 1
MANIFEST, DATABASE = 'manifest.json', 'data.mdb'
#: What readers need; the manifest, which tells the size of the database, last.
PACK_FILES = (
    DATABASE, 'names.bin', 'names_ends.npy', 'area_ratio.npy', 'frame_distance.npy', MANIFEST,
)  # fmt: skip
_PREFIX = struct.Struct('<II')


@dataclass
class PackedView:
    """An image as it is stored, with the masks of its N regions.

    Attributes:
        image_id: Names the pixels.
        encoded: The bytes of a JPEG or PNG file.
        size: Height and width.
        masks: N compressed COCO RLEs.
    """

    image_id: str
    encoded: bytes
    size: tuple[int, int]
    masks: list[dict[str, Any]]


@dataclass
class PackedRecord:
    """What a dataset reads, before anything is drawn: all masks, and all texts of each.

    Attributes:
        sample_id: As in the dataset it was made from.
        views: One or two.
        texts: N lists of texts, empty where nobody wrote any.
        frame_distance: Distance between the views of a video, in video frames; -1 if unknown.
        absent: Whether the texts of each region fit nothing, so that its mask is empty on purpose; an empty
            list means that none does.
    """

    sample_id: str
    views: list[PackedView]
    texts: list[list[str]]
    frame_distance: int = -1
    absent: list[bool] = field(default_factory=list)


def encode_record(record: PackedRecord) -> bytes:
    """CRC-32 of all that follows, length of the header (4 bytes each), the header as JSON, the images."""
    header = {
        'sample_id': record.sample_id,
        'texts': record.texts,
        'frame_distance': record.frame_distance,
        'views': [
            {'image_id': v.image_id, 'size': v.size, 'bytes': len(v.encoded), 'masks': v.masks}
            for v in record.views
        ],
    }
    if any(record.absent):
        header['absent'] = record.absent
    text = json.dumps(header, separators=(',', ':')).encode()
    body = b''.join([text, *(view.encoded for view in record.views)])
    return _PREFIX.pack(zlib.crc32(body), len(text)) + body


def record_checksum(data: bytes) -> int:
    """The CRC-32 that an encoded record carries."""
    return _PREFIX.unpack_from(data)[0]


def decode_record(data: bytes) -> PackedRecord:
    """The inverse of :func:`encode_record`.

    Raises:
        ValueError: The bytes are damaged or not a record.
    """
    if len(data) < _PREFIX.size:
        raise ValueError('the packed record is cut short')
    checksum, header_len = _PREFIX.unpack_from(data)
    if zlib.crc32(memoryview(data)[_PREFIX.size :]) != checksum:
        raise ValueError('the packed record is damaged: its checksum differs')
    start = _PREFIX.size + header_len
    header = json.loads(data[_PREFIX.size : start])
    views = []
    for view in header['views']:
        encoded = data[start : start + view['bytes']]
        start += view['bytes']
        height, width = view['size']
        views.append(PackedView(view['image_id'], encoded, (height, width), view['masks']))
    absent = header.get('absent', [])
    return PackedRecord(header['sample_id'], views, header['texts'], header['frame_distance'], absent)


def area_ratios(view: PackedView) -> np.ndarray:
    """Share of the image that each mask covers, ``[N]``, without decoding."""
    area = coco_mask.area(view.masks) if view.masks else np.zeros(0)
    return area.astype(np.float32) / (view.size[0] * view.size[1])


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Content of a pack's manifest, checked.

    Raises:
        FileNotFoundError: The folder holds no pack, or one that was never completed.
        ValueError: The pack has a different version, or its database is not of the size the manifest says.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(
            f'{folder / MANIFEST} is missing: this is not a pack, or writing it was interrupted. '
            'Run tools/pack_dataset.py or tools/prepare_sav.py again; it continues where it stopped.'
        )
    manifest = json.loads((folder / MANIFEST).read_text())
    if manifest['version'] != FORMAT_VERSION:
        raise ValueError(f'{folder} has version {manifest["version"]}, needed {FORMAT_VERSION}. Pack again.')
    size = (folder / DATABASE).stat().st_size
    if size != manifest['bytes']:
        raise ValueError(f'{folder / DATABASE} has {size} bytes, its manifest says {manifest["bytes"]}.')
    return manifest
