"""Labelled pictures read from every form, and what is said of files that are not what they should be."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_cr.benchmarks import (
    LabelledArrays,
    LabelledFile,
    LabelledFolders,
    LabelledScenes,
    LabelledTorchvision,
    LinearProbe,
    ZeroShot,
)
from lightning_cr.benchmarks.pictures import ArrayPicture
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

PREPROCESS = Preprocess(16, (0.5,) * 3, (0.5,) * 3)


def draw(path, colour=(200, 30, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 18), colour).save(path)


def test_folders_give_classes_in_order_and_empty_ones_too(tmp_path):
    for place in ("train/cat/a.png", "train/cat/b.png", "train/ape/c.png", "test/cat/a.png"):
        draw(tmp_path / place)
    (tmp_path / "test/yak").mkdir()
    data = LabelledFolders()
    parts = data.open(tmp_path, ("train", "val", "test"))
    assert data.classes == ["ape", "cat", "yak"]
    assert list(parts) == ["train", "test"]
    assert parts["train"].ids == ["ape/c.png", "cat/a.png", "cat/b.png"]
    assert parts["train"].labels.tolist() == [0, 1, 1]
    assert parts["test"].labels.tolist() == [1]
    assert parts["test"].pictures[0].pixels(PREPROCESS).shape == (3, 16, 16)


def test_the_classes_may_lie_in_the_folder_itself(tmp_path):
    draw(tmp_path / "set/cat/a.png")
    draw(tmp_path / "set/ape/a.png")
    with pytest.raises(DataError, match=r"set/test has no folder of each class \(it is not there\); name another by"):
        LabelledFolders("set").open(tmp_path, ("test",))
    assert LabelledFolders("set", test=".").open(tmp_path, ("test",))["test"].labels.tolist() == [0, 1]
    with pytest.raises(DataError, match=r"set/cat has no folder of each class \(Couldn't find any class"):
        LabelledFolders("set/cat", test=".").open(tmp_path, ("test",))
    with pytest.raises(DataError, match=r"has no pictures; set --data\.root"):
        LabelledFolders().open(None, ("test",))


ROWS = [
    {"image": "one.png", "labels": ["dog", "cat"]},
    {"image": "two.png", "labels": []},
    {"image": "deep/three.png", "labels": ["cat"]},
]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_list_of_pictures_and_their_labels(tmp_path, form):
    lines = [json.dumps(row) for row in ROWS]
    (tmp_path / f"test.{form}").write_text(json.dumps(ROWS) if form == "json" else "\n".join(lines) + "\n")
    for name in ("images/one.png", "images/two.png", "deep/three.png"):
        draw(tmp_path / name)
    data = LabelledFile(f"test.{form}")
    found = data.open(tmp_path, ("test",))["test"]
    assert data.classes == ["cat", "dog"]
    assert found.labels.tolist() == [[1, 1], [0, 0], [1, 0]]
    assert [picture.path.name for picture in found.pictures] == ["one.png", "two.png", "three.png"]


def instances(folder, **changes):
    """COCO's form, with a category that has no annotation and ids that are not in order."""
    data = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in (7, 9)],
        "annotations": [
            {"image_id": 9, "category_id": 3},
            {"image_id": 9, "category_id": 3, "iscrowd": 1},
            {"image_id": 9, "category_id": 1},
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
    } | changes
    (folder / "instances.json").write_text(json.dumps(data))


def test_cocos_instances_with_pictures_by_number(tmp_path):
    instances(tmp_path)
    draw(tmp_path / "val2014/COCO_val2014_000000000009.jpg")
    draw(tmp_path / "val2014/COCO_val2014_000000000007.jpg")
    data = LabelledFile("instances.json")
    found = data.open(tmp_path, ("test",))["test"]
    assert data.classes == ["person", "car", "dog"]
    assert found.labels.tolist() == [[0, 0, 0], [1, 0, 1]]
    assert found.pictures[1].path.name == "COCO_val2014_000000000009.jpg"


def test_missing_pictures_are_counted_and_allowed(tmp_path):
    instances(tmp_path)
    draw(tmp_path / "val2017/000000000009.jpg")
    with pytest.raises(DataError, match=r"LabelledFile: 1 pictures are not in .*, 0 are allowed: 000000000007\.jpg"):
        LabelledFile("instances.json").open(tmp_path, ("test",))
    benchmark = ZeroShot(LabelledFile("instances.json", allow_missing=1))
    benchmark.open(tmp_path, PREPROCESS, None)
    assert (benchmark.listed, benchmark.used) == (2, 1)
    assert list(benchmark.missing.names) == ["000000000007.jpg"]
    content = (tmp_path / "instances.json").read_bytes()
    assert benchmark.files == {"instances.json": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", r"holds a dict, expected is a list of rows with 'image' and 'labels', or COCO's object"),
        ('[{"image": "one.png"}]', r"row 0 has no key 'labels', expected is a list; it has image"),
        ('[{"image": "one.png", "labels": [3]}]', r"row 0 has no list of texts as 'labels'"),
        ('[{"image": "a", "labels": []}, {"image": "a", "labels": []}]', r"row 1 names a, which another row has"),
        ('[{"image": "a", "labels": ["dgo"]}]', r"a has the label 'dgo', which is none of the 2 classes. Did you mean"),
    ],
)
def test_files_of_another_shape(tmp_path, content, message):
    (tmp_path / "test.json").write_text(content)
    with pytest.raises(DataError, match=message):
        LabelledFile("test.json", classes=["dog", "cat"]).open(tmp_path, ("test",))


def test_annotations_of_what_coco_does_not_list(tmp_path):
    instances(tmp_path, annotations=[{"image_id": 8, "category_id": 3}])
    with pytest.raises(
        DataError, match=r"row 'annotations 0' is about image 8 and category 3, which the file does not"
    ):
        LabelledFile("instances.json").open(tmp_path, ("test",))
    (tmp_path / "lines.jsonl").write_text('{"image": "a", "labels": []}\n\n{"image": ')
    with pytest.raises(DataError, match=r"lines\.jsonl: line 3 is not JSON"):
        LabelledFile("lines.jsonl").open(tmp_path, ("test",))
    with pytest.raises(ConfigError, match=r"has no file to train on; set init_args\.data\.init_args\.train"):
        LinearProbe(LabelledFile("lines.jsonl")).open(tmp_path, PREPROCESS, None)


def test_scenes_have_the_labels_of_their_things():
    data = LabelledScenes(train=5, test=20, val=3)
    parts = data.open(None, ("train", "val", "test"))
    assert {part: len(found.pictures) for part, found in parts.items()} == {"train": 5, "val": 3, "test": 20}
    assert len(data.classes) == 21
    for picture, row in zip(parts["test"].pictures, parts["test"].labels.tolist(), strict=True):
        shown = {name for name, has in zip(data.classes, row, strict=True) if has}
        things = picture.scene.things
        assert shown == {v for t in things for v in (t.shape, t.colour, t.size, t.texture)}
    again = LabelledScenes(train=5, test=20).open(None, ("test",))["test"]
    assert again.pictures == parts["test"].pictures
    other = LabelledScenes(train=5, test=20, seed="other").open(None, ("test",))["test"]
    assert other.pictures != parts["test"].pictures
    with pytest.raises(ConfigError, match="LabelledScenes has train 5, test 0, val 0"):
        LabelledScenes(train=5, test=0)


def idx(path, array):
    """A file in MNIST's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_a_set_of_torchvision_in_memory(tmp_path):
    digits = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 251
    for name, count in (("train", 3), ("t10k", 2)):
        idx(tmp_path / f"MNIST/raw/{name}-images-idx3-ubyte", digits[:count])
        idx(tmp_path / f"MNIST/raw/{name}-labels-idx1-ubyte", np.array([4, 0, 9])[:count])
    data = LabelledTorchvision("MNIST")
    parts = data.open(tmp_path, ("train", "val", "test"))
    assert list(parts) == ["train", "test"]
    assert parts["train"].labels.tolist() == [4, 0, 9]
    assert data.classes[4] == "4 - four"
    assert np.array_equal(parts["test"].pictures[1].array, digits[1])
    assert parts["test"].pictures[1] == parts["train"].pictures[1], "equal pixels are encoded once"
    assert parts["test"].pictures[1] != parts["train"].pictures[2]


def test_a_set_of_torchvision_on_disk_is_listed_without_reading_a_picture(tmp_path):
    meta = tmp_path / "food-101/meta"
    meta.mkdir(parents=True)
    (tmp_path / "food-101/images").mkdir()
    (meta / "test.json").write_text(json.dumps({"apple_pie": ["apple_pie/1"], "waffles": ["waffles/7", "waffles/8"]}))
    data = LabelledTorchvision("Food101")
    found = data.open(tmp_path, ("test",))["test"]
    assert data.classes == ["apple_pie", "waffles"]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.pictures[2].path == (tmp_path / "food-101/images/waffles/8.jpg").resolve()


def test_voc_leaves_out_what_is_only_there_with_difficulty(tmp_path):
    base = tmp_path / "VOCdevkit/VOC2007"
    things = {"000001": [("dog", 0), ("dog", 1), ("person", 1)], "000002": [("person", 1), ("person", 0)], "000003": []}
    (base / "ImageSets/Main").mkdir(parents=True)
    (base / "ImageSets/Main/test.txt").write_text("\n".join(things))
    (base / "Annotations").mkdir()
    for name, shown in things.items():
        objects = "".join(f"<object><name>{t}</name><difficult>{d}</difficult></object>" for t, d in shown)
        (base / f"Annotations/{name}.xml").write_text(f"<annotation>{objects}</annotation>")
    data = LabelledTorchvision("VOCDetection")
    found = data.open(tmp_path, ("test",))["test"]
    dog, person = (list(data.classes).index(name) for name in ("dog", "person"))
    assert found.labels[:, dog].tolist() == [1, 0, 0]
    assert found.labels[:, person].tolist() == [-1, 1, 0]
    assert found.ids == ["000001", "000002", "000003"]
    (base / "Annotations/000002.xml").write_text("<annotation><object><name>unicorn</name></object></annotation>")
    with pytest.raises(DataError, match=r"cannot read .*000002\.xml: 'unicorn'; fetch VOC's archive again"):
        data.open(tmp_path, ("test",))


def test_torchvision_never_downloads_and_says_how(tmp_path):
    said = rf"CIFAR10; CIFAR10\('{tmp_path}', train=True, download=True\)"
    with pytest.raises(DataError, match=said):
        LabelledTorchvision("CIFAR10").open(tmp_path, ("train", "test"))
    with pytest.raises(DataError, match=rf"VOCDetection\('{tmp_path}', year='2007', image_set='test', download=True\)"):
        LabelledTorchvision("VOCDetection").open(tmp_path, ("test",))
    with pytest.raises(DataError, match=r"fetch the archives that https://image-net\.org gives"):
        LabelledTorchvision("ImageNet").open(tmp_path, ("test",))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"no data set 'CIFAR01'\. Did you mean 'CIFAR10'\? Known are CIFAR10, "):
        LabelledTorchvision("CIFAR01")
    with pytest.raises(ConfigError, match=r"torchvision's EuroSAT has no part to train on; it has test"):
        LabelledTorchvision("EuroSAT").open(tmp_path, ("train", "test"))
    with pytest.raises(ConfigError, match="year is '2009'; VOCDetection has 2007 and 2012 here"):
        LabelledTorchvision("VOCDetection", year="2009")


def test_every_set_that_is_named_is_one_of_torchvisions(tmp_path):
    from lightning_cr.benchmarks import labelled_torchvision as sets

    for name, splits in {**sets._IN_MEMORY, **sets._ON_DISK}.items():
        data = LabelledTorchvision(name)
        for part in splits:
            with pytest.raises(DataError, match=f"torchvision's {name} is not in"):
                data.open(tmp_path, (part,))


def test_arrays_are_checked():
    grey = np.zeros((4, 5, 5), np.uint8)
    cases = [
        (grey.astype(float), [0] * 4, r"images of 'test' are float64 of shape \(4, 5, 5\); allowed are uint8"),
        (grey, [0] * 3, r"labels of 'test' have shape \(3,\); 4 images and 2 classes want"),
        (grey, [0, 1, 2, 0], r"labels of 'test' are 0 to 2; allowed are 0 to 1"),
        (grey, np.zeros((4, 3)), r"labels of 'test' have shape \(4, 3\)"),
    ]
    for images, labels, message in cases:
        with pytest.raises(ConfigError, match=message):
            LabelledArrays({"test": images}, {"test": labels}, ["a", "b"])
    with pytest.raises(ConfigError, match="LabelledArrays has no part 'train'; it has test"):
        LabelledArrays({"test": grey}, {"test": [0, 1, 0, 1]}, ["a", "b"]).open(None, ("train", "val", "test"))


def test_a_picture_in_memory_is_known_by_its_shape_and_numbers():
    one = np.arange(12, dtype=np.uint8)
    wide, tall = ArrayPicture(one.reshape(3, 4)), ArrayPicture(one.reshape(4, 3))
    assert wide != tall
    assert wide.content() != tall.content()
    assert wide == ArrayPicture(one.reshape(3, 4).copy())
    assert hash(wide) == hash(ArrayPicture(np.asfortranarray(one.reshape(3, 4))))
    colour = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert torch.equal(ArrayPicture(colour).pixels(PREPROCESS), torch.from_numpy(colour).permute(2, 0, 1))


@pytest.mark.parametrize("kind", [ZeroShot, LinearProbe])
def test_one_class_only_is_refused(kind):
    grey = np.zeros((4, 5, 5), np.uint8)
    data = LabelledArrays({"train": grey, "test": grey}, {"train": [0] * 4, "test": [0] * 4}, ["a"])
    with pytest.raises(DataError, match=r"the data has 1 classes \(a\); two or more can be told apart"):
        kind(data).open(None, PREPROCESS, None)


def test_a_part_without_pictures_is_refused(tmp_path):
    (tmp_path / "test/cat").mkdir(parents=True)
    (tmp_path / "test/dog").mkdir()
    with pytest.raises(DataError, match="zero-shot: there are no pictures to test on"):
        ZeroShot(LabelledFolders()).open(tmp_path, PREPROCESS, None)
