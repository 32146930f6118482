"""Test pictures that a model was trained on: known by COCO's numbers, counted, never left out."""

import json

import pytest
from annotation_files import DATA, REAL, opened, small_tree, touch, write

from lightning_cr.benchmarks import (
    SugarCrepe,
    Valse,
)
from lightning_cr.data.trained_on import count_trained_on, read_numbers
from lightning_cr.errors import DataError


@REAL
def test_test_pictures_that_were_trained_on_are_counted(tree):
    """183 of SugarCrepe's pictures are in Karpathy's test split, which is found by number in another year's folder."""
    benchmarks = {name: kind(str(DATA / name)) for name, kind in (("sugarcrepe", SugarCrepe), ("valse", Valse))}
    for benchmark in benchmarks.values():
        opened(benchmark, tree)
    count_trained_on(benchmarks, [str(DATA / "retrieval/coco_karpathy_test.json")], None)
    overlap = benchmarks["sugarcrepe"].overlap
    assert (overlap.pictures, overlap.numbered) == (183, 1560)
    karpathy = {row["image"][-16:] for row in json.loads((DATA / "retrieval/coco_karpathy_test.json").read_text())}
    files = [json.loads(path.read_text()).values() for path in (DATA / "sugarcrepe").glob("*.json")]
    assert overlap.rows == sum(row["filename"] in karpathy for rows in files for row in rows)
    # Of VALSE's only COCO's pictures can be known.
    assert 0 < benchmarks["valse"].overlap.numbered < len(benchmarks["valse"].pictures)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"images": [{"id": 1}], "annotations": [{"id": 5, "image_id": 2}, {"id": 6, "image_id": 2}, 7]}, {1, 2}),
        (
            {
                "images": [
                    {"cocoid": n, "split": split, "sentences": []}
                    for n, split in enumerate(("train", "restval", "val", "test"), 1)
                ]
            },
            {1, 2},
        ),
        ([{"image": "val2014/COCO_val2014_000000000003.jpg"}, {"image_id": 4}, {"filename": "x.jpg"}], {3, 4}),
    ],
    ids=["COCO", "Karpathy", "list"],
)
def test_what_was_trained_on_is_read_from_files_of_three_shapes(tmp_path, content, expected):
    small_tree(tmp_path)
    write(tmp_path / "trained.json", content)
    assert read_numbers(tmp_path / "trained.json") == expected
    benchmark = opened(SugarCrepe("sugarcrepe"), tmp_path)
    count_trained_on({"sugarcrepe": benchmark}, ["trained.json"], tmp_path)
    assert benchmark.overlap == (len(expected), len(expected), 7)
    assert benchmark.used == 7, "nothing is left out"


def test_pictures_that_are_links_are_known_by_the_name_in_the_tree(tmp_path):
    small_tree(tmp_path)
    for number, path in enumerate(sorted((tmp_path / "val2017").iterdir())):
        (tmp_path / "objects").mkdir(exist_ok=True)
        path.rename(tmp_path / f"objects/{number}.bin")
        path.symlink_to(tmp_path / f"objects/{number}.bin")
    benchmark = opened(SugarCrepe("sugarcrepe"), tmp_path)
    assert benchmark.overlapping({1, 2}) == (2, 2, 7)


def test_what_was_trained_on_may_be_a_folder_and_is_checked(tmp_path):
    touch(tmp_path / "train2014/COCO_train2014_000000000007.jpg", tmp_path / "train2014/readme.txt")
    assert read_numbers(tmp_path / "train2014") == {7}
    write(tmp_path / "a.json", [{"image": "x.jpg"}])
    write(tmp_path / "b.json", {"x": 1})
    for name, message in (
        ("a.json", r"a\.json has no picture with a number of COCO; give a folder"),
        ("b.json", r"b\.json is of a shape that is not known; give a folder"),
        ("lost", r"there is no file .*lost; data\.trained_on takes a folder"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read_numbers(tmp_path / name)
        assert "\n" not in str(caught.value)
