"""ARO's four shuffles of a caption (Yuksekgonul et al. 2023, 2210.01936), with the authors' spelling or without."""

from __future__ import annotations

import random
import re
from typing import Literal

from lightning_cr.negatives.text.shuffle_words import Mode, other_order, word_order
from lightning_cr.negatives.text.tagging import Tagger

__all__ = ["ORDERS", "Style", "normalised", "shuffled"]

Style = Literal["aro", "clean"]
"""How captions are written.

``aro``: as the authors' ``dataset_zoo/aro_datasets.py`` does. The caption is shuffled as it is, its words and marks are
joined by a space, and what comes out passes :func:`normalised`, as the true caption does without having been taken
apart. So a shuffle may be the caption itself, the more so as it may differ in marks that are taken out; it may have
lost other words than the caption where that has more than 30; and it has "man 's" and "red , wet" where the true
caption has "man's" and "red, wet". To CLIP's tokenizer these are the same (but in 22 of COCO's 25,010 test captions);
what counts characters is told the answer: in 6.1% of them all four shuffles are longer than the caption.

``clean``: the caption is normalised first, and then it and its shuffles are written alike, words and marks with a space
between, so that nothing but the order tells them apart. A shuffle that reads as the caption does is drawn again; there
is none where no other order exists.
"""

ORDERS: tuple[Mode, ...] = ("nouns_and_adjectives", "others", "within_trigrams", "trigrams")
"""The four, in ARO's order."""

_MARKS = re.compile(r"[.!\"()*#:;~]")
_MOST_WORDS = 30


def normalised(text: str) -> str:
    """Lower case, marks ``.!"()*#:;~`` as spaces, single spaces, at most 30 words: ARO's ``pre_caption``.

    >>> normalised('A  hat: "red, wet".')
    'a hat red, wet'
    """
    return " ".join(_MARKS.sub(" ", text.lower()).split()[:_MOST_WORDS])


def shuffled(text: str, style: Style, tagger: Tagger, seed: int) -> tuple[str, list[str | None]]:
    """The true caption and its shuffles, in the order of :data:`ORDERS`; None where there is no other order.

    Drawn from (seed, order, caption) alone, so that other captions of the file change nothing, and a caption that two
    pictures have is shuffled alike.

    Raises:
        DataError: The tagger's data is missing.
    """
    true = normalised(text)
    caption = tagger.annotate(text if style == "aro" else true)
    words = [token.text for token in caption.tokens]
    found: list[str | None] = []
    for mode in ORDERS:
        rng = random.Random(f"{seed}/{mode}/{text}")
        order = (word_order if style == "aro" else other_order)(caption, mode, rng)
        joined = None if order is None else " ".join(words[at] for at in order)
        found.append(joined if joined is None or style == "clean" else normalised(joined))
    return true if style == "aro" else " ".join(words), found
