"""What tests put into a store: small pictures by Pillow and what they would have been made for."""

import io

from PIL import Image

from lightning_cr.negatives.image.store import Made


def encoded(colour=(200, 30, 30), size=(48, 40), form="JPEG"):
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def made(key="a", image_id=1, caption="a red ring", negative="a blue ring", **more):
    values = {
        **{"key": key, "image_id": image_id, "sample_id": 10 * image_id, "caption": caption, "negative": negative},
        **{"kind": "replace_att", "original": "red", "replacement": "blue", "start": 2, "end": 5},
        **{"concreteness": 0.5, "seed": 7, "pipeline": "tiny", "dropped": ""},
        **{"text_margin": None, "image_margin": None},
    }
    return Made(**(values | more))
