"""For oracles: the negatives of an anchor by plain loops."""

from __future__ import annotations

from loss_features import logit

from lightning_cr.batch import Features


def of_image(f: Features, i: int, scope: str) -> list[float]:
    """Logits of image i with all that is false for it."""
    found = []
    for j in range(len(f)):
        if int(f.image_ids[i]) != int(f.image_ids[j]):
            found.append(logit(f, f.image[i], f.text[j]))
        for k in range(f.negative_text.shape[1]):
            if f.negative_text_mask[j, k] and (scope == "all" or (scope == "own" and i == j)):
                found.append(logit(f, f.image[i], f.negative_text[j, k]))
    return found


def of_caption(f: Features, i: int) -> list[float]:
    """Logits of caption i with the images that it does not belong to."""
    others = (j for j in range(len(f)) if int(f.image_ids[i]) != int(f.image_ids[j]))
    return [logit(f, f.text[i], f.image[j]) for j in others]
