from __future__ import annotations

import json
import os
import re

import pytest
from annotation_files import DATA


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """Empty files where the real annotations look for pictures; COCO's are all from the 2014 tree."""
    root = tmp_path_factory.mktemp("tree")
    names = set()
    for path in (*(DATA / "sugarcrepe").glob("*.json"), *(DATA / "sugarcrepe_pp").glob("*.json")):
        rows = json.loads(path.read_text())
        names |= {row["filename"] for row in (rows.values() if isinstance(rows, dict) else rows)}
    places = {f"val2014/COCO_val2014_{name}" for name in names}
    for path in (DATA / "valse").glob("*.json"):
        for row in json.loads(path.read_text()).values():
            name = row["image_file"]
            numbered = re.fullmatch(r"(?:COCO_(?:train|val)2014_)?(\d{12}\.jpg)", name)
            places.add(f"val2014/COCO_val2014_{numbered[1]}" if numbered else f"images_512/{name}")
    rows = json.loads((DATA / "retrieval/coco_karpathy_test.json").read_text())
    places |= {row["image"] for row in rows}
    for folder in ("val2014", "images_512"):
        (root / folder).mkdir()
    for place in places:
        os.close(os.open(root / place, os.O_CREAT))
    return root
