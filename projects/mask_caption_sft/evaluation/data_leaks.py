"""Images that are trained on and validated on."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from .dataset_report import RecordFacts

#: COCO's image id, in file names of 2014 and of 2017.
_COCO_ID = re.compile(r'(?:^|_)(\d{12})\.(?:jpg|png)', re.IGNORECASE)
_MOST_NAMED = 20


class DataLeaks:
    """Finds images of training data in validation data, by COCO's image id or by pixels and masks.

    Whatever folder an image is in: RefCOCO's, COCO's own and LVIS's images are the same files.
    """

    def __init__(self) -> None:
        self.seen: dict[bool, dict[str, dict[str, str]]] = {
            is_val: defaultdict(dict) for is_val in (False, True)
        }

    def watch(self, name: str, is_val: bool, records: Iterable[RecordFacts]) -> Iterator[RecordFacts]:
        """The same records, remembered as they pass.

        Args:
            name: Of the dataset.
            is_val: Whether it is validated on.
            records: What was found in it.
        """
        for facts in records:
            keys = [f'pixels {facts.content}'] if facts.content else []
            found = (_COCO_ID.search(image) for image in facts.images)
            for key in (*keys, *(f'COCO image {int(match[1])}' for match in found if match)):
                self.seen[is_val][key].setdefault(name, facts.sample_id)
            yield facts

    def found(self) -> list[dict]:
        """``{train, val, count, examples}`` for each pair of datasets that share images."""
        pairs: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
        shared = {key: self.seen[False][key] for key in self.seen[True] if key in self.seen[False]}
        for key, train in shared.items():
            for val_name, val_id in self.seen[True][key].items():
                for train_name, train_id in train.items():
                    pairs[train_name, val_name].append([train_id, val_id, key])
        return [
            {'train': train, 'val': val, 'count': len(shared), 'examples': shared[:_MOST_NAMED]}
            for (train, val), shared in sorted(pairs.items())
        ]
