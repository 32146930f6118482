"""Bad entries and missing files: what is dropped, and what is said."""

import json
from pathlib import Path

import pytest
from coco_harness import TRAIN, URL, annotations, contents, karpathy, opened, refused, tree, write

from lightning_cr.errors import DataError

# What is dropped


def bad_rows(root: Path, rows: list) -> None:
    path = root / "annotations" / "captions_train2017.json"
    data = json.loads(path.read_text())
    data["annotations"] += rows
    write(path, data)


BAD = [
    ({"id": 901, "image_id": 1, "caption": ""}, "annotation 901: the caption is empty"),
    ({"id": 902, "image_id": 1, "caption": " \t\n"}, "annotation 902: the caption is empty"),
    ({"id": 903, "image_id": 1, "caption": None}, "annotation 903: the caption is of type NoneType, not text"),
    ({"id": 904, "image_id": 1, "caption": ["a"]}, "annotation 904: the caption is of type list, not text"),
    ({"id": 905, "image_id": 1}, "annotation 905: the caption is of type NoneType, not text"),
    ({"id": 906, "image_id": "x", "caption": "a"}, "annotation 906: the image id is 'x', not a number"),
    ({"id": 907, "image_id": [1], "caption": "a"}, "annotation 907: the image id is '[1]', not a number"),
    ({"id": 908, "image_id": True, "caption": "a"}, "annotation 908: the image id is 'True', not a number"),
    ({"image_id": -1, "caption": "a"}, "annotation 14: the image id is '-1', not a number"),
    ({"id": 910, "image_id": 77, "caption": "a"}, "no picture for image id 77 in "),
]


def test_captions_without_text_are_dropped_up_to_the_limit(tmp_path, caplog):
    tree(tmp_path)
    bad_rows(tmp_path, [row for row, _ in BAD])
    train, _ = opened(tmp_path, max_skipped=len(BAD))
    assert contents(train) == TRAIN
    message = refused(tmp_path, max_skipped=len(BAD) - 1)
    path = tmp_path / "annotations" / "captions_train2017.json"
    assert message.startswith("10 entries of the data set cannot be used, 9 are allowed: ")
    assert message.endswith("--data.source.max_skipped=10")
    for _, line in BAD:
        assert f"{path}: {line}" in message
        assert line in caplog.text


def test_only_the_first_ten_bad_entries_are_listed(tmp_path):
    tree(tmp_path)
    bad_rows(tmp_path, [{"id": 900 + n, "image_id": 1, "caption": ""} for n in range(21)])
    message = refused(tmp_path)
    assert message.startswith("21 entries of the data set cannot be used, 20 are allowed")
    assert message.count("the caption is empty") == 10
    assert "; ...; mend them" in message


def test_a_picture_with_no_caption_left_is_dropped(tmp_path):
    train, _ = opened(tree(tmp_path, train={1: ["", "  "], 2: ["two"]}))
    assert contents(train) == {2: ["two"]}


def test_long_foreign_and_repeated_captions_are_kept(tmp_path):
    texts = ["word " * 2000 + "end", "犬が走る", "كلب يجري", "🐕 emoji", "same", "same"]
    train, _ = opened(tree(tmp_path, train={1: texts}))
    assert contents(train) == {1: texts}
    assert len(texts[0]) > 10_000


def test_half_a_surrogate_pair_does_not_stop_the_run(tmp_path):
    train, _ = opened(tree(tmp_path, train={1: ["broken \ud83d emoji"]}))
    assert contents(train) == {1: ["broken ? emoji"]}


def test_bad_sentences_of_karpathys_file_are_dropped(tmp_path):
    path = karpathy(tmp_path) / "dataset_coco.json"
    data = json.loads(path.read_text())
    data["images"][0]["sentences"] += [{"raw": ""}, {"tokens": []}, "text"]
    data["images"] += [{"split": "train", "cocoid": 3, "sentences": 5}, {"split": "val"}]
    write(path, data)
    assert contents(opened(tmp_path)[0]) == {1: TRAIN[1], 2: TRAIN[2]}
    message = refused(tmp_path, max_skipped=2)
    assert f"{path}: sentence 3 of image 1: the caption is empty" in message
    assert "sentence 5 of image 1: the caption is of type NoneType" in message


# What is said


def test_no_root(tmp_path):
    message = refused(None)
    assert "--data.root=DIR" in message
    assert f"curl -O {URL}/annotations/annotations_trainval2017.zip" in message


def test_missing_root(tmp_path):
    message = refused(tmp_path / "no where", year="2014")
    assert str(tmp_path / "no where") in message
    assert f"cd '{tmp_path}/no where' && curl -O {URL}/annotations/annotations_trainval2014.zip" in message
    assert str(tmp_path / "file") in refused(write(tmp_path / "file", "x"))


def test_no_annotations(tmp_path):
    message = refused(tmp_path)
    for name in ("captions_train2017.json", "captions_train2014.json", "dataset_coco.json"):
        assert str(tmp_path / "annotations" / name) in message
    assert f"cd {tmp_path} && curl -O {URL}/annotations/annotations_trainval2017.zip && unzip" in message
    message = refused(tmp_path, year="2017")
    assert "captions_train2014.json" not in message
    assert "dataset_coco.json" not in message


@pytest.mark.parametrize("flag", ["train_annotations", "val_annotations"])
def test_a_named_file_that_is_missing(tmp_path, flag):
    message = refused(tree(tmp_path), **{flag: "gone.json"})
    assert str(tmp_path / "gone.json") in message
    assert f"--data.source.{flag}" in message


def test_no_folder_of_images(tmp_path):
    annotations(tmp_path / "annotations" / "captions_train2017.json", TRAIN)
    message = refused(tmp_path)
    assert f"no folder of images in {tmp_path}" in message
    assert "train2017, val2017, train2014, val2014" in message
    assert str(tmp_path / "images") in message
    assert f"curl -O {URL}/zips/train2017.zip && unzip train2017.zip" in message


def test_no_picture_at_all(tmp_path):
    tree(tmp_path)
    for path in (tmp_path / "train2017").iterdir():
        path.unlink()
    message = refused(tmp_path)
    assert "none of the 3 pictures" in message
    assert str(tmp_path / "annotations" / "captions_train2017.json") in message
    assert str(tmp_path / "train2017") in message
    assert "000000000001.jpg" in message
    assert f"{URL}/zips/train2017.zip" in message
    assert "val_annotations" not in message


def test_no_held_out_picture(tmp_path):
    tree(tmp_path, "2014")
    for path in (tmp_path / "val2014").iterdir():
        path.unlink()
    message = refused(tmp_path)
    assert f"{URL}/zips/val2014.zip" in message
    assert message.endswith("--data.source.val_annotations=none")


def test_some_pictures_missing(tmp_path):
    tree(tmp_path)
    (tmp_path / "train2017" / "000000000002.png").unlink()
    assert opened(tmp_path)[0].image_ids == [1, 3]
    message = refused(tmp_path, max_skipped=0)
    assert f"no picture for image id 2 in {tmp_path}" in message
    assert message.endswith("--data.source.max_skipped=1")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ('{"annotations": [\n  {"image_id": 1,,\n', "is not JSON: .* at line 2, column 18; mend it"),
        ("", "is not JSON: .* at line 1, column 1; mend it"),
        ([], "holds a list, not an object with the key 'annotations'"),
        ({}, "no list under the key 'annotations'"),
        ({"annotations": {}}, "no list under the key 'annotations'"),
        ({"images": [{"id": 1}]}, "no list under the key 'annotations'"),
        ({"annotations": [{"id": 1, "image_id": 1, "bbox": []}]}, "first of 'annotations' has no key 'caption'"),
        ({"annotations": [{"caption": "a"}]}, "first of 'annotations' has no key 'image_id'"),
        ({"annotations": ["a caption"]}, "number 0 of 'annotations' is no object but 'a caption'"),
        ({"annotations": [], "images": 5}, "no list under the key 'images'"),
        ({"images": [{"sentences": [], "split": "val"}]}, "first of 'images' has no key 'cocoid'"),
        ({"images": [], "annotations": []}, "has no caption for training; get it with"),
    ],
)
def test_annotations_of_another_shape(tmp_path, data, said):
    tree(tmp_path)
    path = write(tmp_path / "annotations" / "captions_train2017.json", data)
    with pytest.raises(DataError, match=said) as caught:
        opened(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_annotations_that_are_no_text(tmp_path):
    tree(tmp_path)
    path = tmp_path / "annotations" / "captions_train2017.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert f"cannot read {path}" in refused(tmp_path)


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tree(tmp_path) / "annotations" / "captions_train2017.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert contents(opened(tmp_path)[0]) == TRAIN
