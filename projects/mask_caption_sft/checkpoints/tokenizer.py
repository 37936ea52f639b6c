"""The tokenizer of a checkpoint; none of its code is run."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from .sentencepiece_file import FILE, read_sentencepiece


def load_tokenizer(base: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a directory in the released layout.

    InternLM2's files name a class that only the checkpoint's own Python has; its ``tokenizer.model`` is read
    without it.

    Raises:
        OSError, ValueError: Files are missing or damaged.
    """
    base = Path(base)
    if (base / FILE).is_file() and not (base / 'tokenizer.json').is_file():
        return read_sentencepiece(base)
    # If left open, transformers asks about a class that it does not know, and runs it after a "y".
    return AutoTokenizer.from_pretrained(str(base), trust_remote_code=False)
