"""Two pictures and two captions that swap something: Winoground's scores."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_cr.benchmarks.base import Similarity

__all__ = ["winoground"]


def winoground(
    similarity: Similarity, picture_0: Tensor, picture_1: Tensor, caption_0: Tensor, caption_1: Tensor
) -> dict[str, Tensor]:
    """Margins of the text, image and group score (Thrush et al. 2022, 2204.03162) and of GroupMatch.

    With ``s01`` the similarity of caption 0 and picture 1: *text*, each picture is nearer to its own caption, ``s00 >
    s10`` and ``s11 > s01``; *image*, each caption is nearer to its own picture, ``s00 > s01`` and ``s11 > s10``;
    *group*, both; *match*, ``s00 + s11 > s01 + s10`` (2510.07632).

    A margin of several comparisons is the smallest: below 0 where any of them is wrong, 0 (a tie) where none is wrong
    and one or more are level. Where ties count a half, such a pair counts a half, however many of them are level.

    Args:
        similarity: Of pictures and captions.
        picture_0: ``(N,)``, and so the others.
        picture_1: The other picture.
        caption_0: What the first picture shows.
        caption_1: What the other shows.

    Returns:
        ``(N,)`` for ``text``, ``image``, ``group`` and ``match``.
    """
    s00, s01 = similarity.between(picture_0, caption_0), similarity.between(picture_1, caption_0)
    s10, s11 = similarity.between(picture_0, caption_1), similarity.between(picture_1, caption_1)
    text = torch.minimum(s00 - s10, s11 - s01)
    image = torch.minimum(s00 - s01, s11 - s10)
    match = (s00.double() + s11.double()) - (s01.double() + s10.double())
    return {"text": text, "image": image, "group": torch.minimum(text, image), "match": match.float()}
