"""How upstream's evaluation cleans up a written caption before it is scored."""

import re

#: Deleted in this order, wherever they occur: even the "is" in "this" and "disk", and the
#: "shows" of a caption that needs it.
DELETED = (
    '<s>', '\n', 'region1', 'Region1', 'The region marked by', 'The region marked as',
    'The region marked', 'is', 'shows', ':',
)  # fmt: skip


def upstream_caption(text: str) -> str:
    """A caption as upstream's script for RefCOCOg passes it to the scorers.

    Source: upstream Sa2VA ``projects/llava_sam2/evaluation/region_cap_refcocog_eval.py``
    (d01bf3f). Its cut at "ASSISTANT: " is left out: the colon is gone by then.
    """
    for part in DELETED:
        text = text.replace(part, '')
    text = re.sub('<.*?>', '', text).replace('[SEG]', '')
    return ' '.join(text.split()).strip("'").strip()
