"""Words of texts, and statistics of them."""

import re


def words(text: str) -> str:
    """Lower-cased words with single spaces between, no punctuation."""
    return ' '.join(re.findall(r"[\w']+", text.lower()))


def distinct_ratio(texts: list[str], n: int) -> float:
    """Distinct word n-grams over all word n-grams; 0 where there are none.

    Source: distinct-n of Li et al., arXiv:1510.03055.
    """
    grams = [tuple(w[i : i + n]) for w in map(str.split, texts) for i in range(len(w) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
