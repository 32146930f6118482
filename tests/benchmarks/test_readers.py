"""Each reader on small files of the published shapes."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from annotation_files import PREPROCESS, Table, opened, small_tree, touch, write
from PIL import Image

from lightning_cr.benchmarks import (
    AroAttribution,
    AroOrder,
    AroRelation,
    CaptionRetrieval,
    ImagePairs,
    SugarCrepe,
    Valse,
    VLCheckList,
)
from lightning_cr.benchmarks.base import Scoring
from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.errors import ConfigError, DataError


def test_relative_folders_are_those_of_the_data_root(tmp_path, monkeypatch):
    small_tree(tmp_path / "root")
    (tmp_path / "root/val2017").rename(tmp_path / "root/pictures")
    for number in range(1, 8):
        touch(tmp_path / f"elsewhere/{number:012d}.jpg")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    benchmark = opened(SugarCrepe("sugarcrepe", images="pictures"), tmp_path / "root")
    assert {picture.path.parent for picture in benchmark.pictures} == {tmp_path / "root/pictures"}
    benchmark = opened(SugarCrepe("sugarcrepe", images=str(tmp_path / "elsewhere")), tmp_path / "root")
    assert {picture.path.parent for picture in benchmark.pictures} == {tmp_path / "elsewhere"}
    benchmark = opened(SugarCrepe("../root/sugarcrepe", images="../elsewhere"), None)
    assert benchmark.used == 7, "without a root they are those of the working folder"


def test_the_files_that_were_read_are_known_by_their_digest(tmp_path):
    small_tree(tmp_path)
    benchmark = opened(SugarCrepe("sugarcrepe"), tmp_path)
    assert sorted(benchmark.files) == sorted(f"{part}.json" for part in SEVEN)
    content = (tmp_path / "sugarcrepe/add_att.json").read_bytes()
    expected = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert benchmark.files["add_att.json"] == expected
    (tmp_path / "sugarcrepe/add_att.json").write_bytes(content + b"\n")
    assert opened(benchmark, tmp_path).files["add_att.json"] != expected
    (tmp_path / "sugarcrepe").rename(tmp_path / "moved")
    benchmark.annotations = "moved"
    assert len(opened(benchmark, tmp_path).files) == 7, "those of an earlier opening are forgotten"
    aro = opened(AroRelation(crops(tmp_path, "relation_name", ["on"]), write(tmp_path / "s.json", [])), tmp_path)
    assert sorted(aro.files) == ["rows.json", "s.json"]
    lines = {"id": 0, "caption_0": "a", "caption_1": "b", "image_0": "images/1.jpg", "image_1": "images/1.jpg"}
    write(tmp_path / "pairs.jsonl", lines)
    assert list(opened(ImagePairs("pairs.jsonl"), tmp_path).files) == ["pairs.jsonl"]


def crops(tmp_path, key, values):
    rows = [
        {"image_path": "1.jpg", "bbox_x": 1, "bbox_y": 2, "bbox_w": 3, "bbox_h": 4, "true_caption": f"true {n}"}
        | {"false_caption": f"false {n}", key: value}
        for n, value in enumerate(values)
    ]
    touch(tmp_path / "images" / "1.jpg")
    return write(tmp_path / "rows.json", rows)


def test_aro_relation_leaves_out_symmetric_relations_in_the_macro_average(tmp_path):
    file = crops(tmp_path, "relation_name", ["on", "on", "on", "eating", "next to"])
    write(tmp_path / "symmetric.json", ["next to"])
    benchmark = opened(AroRelation(file, "symmetric.json"), tmp_path)
    assert (benchmark.listed, benchmark.used, len(benchmark.pictures)) == (5, 5, 1)
    assert benchmark.pictures[0].box == (1, 2, 4, 6)
    values = torch.tensor([[1.0, 0, 0, 1, 0, 0, 1, 0, 1, 0]])  # true 0, false 0, true 1, ...: right, wrong, tie ...
    scores = benchmark.score(benchmark.judge(Table(values)))
    assert scores["aro/relation macro"].value == pytest.approx((1 / 3 + 1) / 2)
    assert scores["aro/relation micro"].value == pytest.approx(2 / 4)
    assert scores["aro/relation macro, all relations"].value == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert scores["aro/relation macro"].ties == 1


def test_aro_attribution_wants_25_rows_of_a_pair(tmp_path):
    file = crops(tmp_path, "attributes", [["red", "blue"]] * 25 + [["wet", "dry"]] * 24)
    benchmark = opened(AroAttribution(file), tmp_path)
    values = torch.ones(1, len(benchmark.captions))
    values[0, [row.false[0] for row in benchmark.rows[:20]]] = 0.0
    scores = benchmark.score(benchmark.judge(Table(values)))
    assert scores["aro/attribution macro"].value == pytest.approx(20 / 25)
    assert scores["aro/attribution micro"].value == pytest.approx(20 / 49)


def test_aro_order_counts_a_tie_as_right_and_may_drop_it(tmp_path):
    rows = [
        {"image": "1.jpg", "caption": "a b", "shuffles": ["b a", "a b"]},
        {"image": "1.jpg", "caption": "c d", "shuffles": ["d c", "d c"]},
    ]
    touch(tmp_path / "1.jpg")
    file = write(tmp_path / "order.json", rows)
    benchmark = opened(AroOrder(file), tmp_path)
    assert benchmark.captions == ["a b", "b a", "c d", "d c"]
    judged = benchmark.judge(Table(torch.tensor([[1.0, 0.0, 0.0, 1.0]])))
    assert [benchmark.score(judged, Scoring(t, 0))["aro/coco_order"].value for t in ("official", "strict", "half")] == [
        0.5,
        0.0,
        0.25,
    ]
    assert opened(AroOrder(file, drop_identical=True), tmp_path).used == 1


def test_valse_keeps_what_annotators_agree_on_and_finds_visual_genomes_pictures(tmp_path):
    from lightning_cr.benchmarks.valse import PIECES

    row = {"image_file": "v7w_7.jpg", "caption": "c", "foil": "f", "mturk": {"caption": 2}}
    for piece in PIECES:
        write(tmp_path / f"{piece}.json", {"same id": row, "other": row | {"mturk": {"caption": 1}}})
    touch(tmp_path / "VG_100K_2" / "7.jpg")
    benchmark = opened(Valse(str(tmp_path)), tmp_path)
    assert (benchmark.listed, benchmark.used, len(benchmark.pictures)) == (22, 11, 1)


def test_vl_checklist_takes_the_first_rows_and_names_its_types(tmp_path):
    def rows(count):
        return [[f"{n}.jpg", {"POS": [f"p{n} "], "NEG": [f"n{n}", "x"]}] for n in range(count)]

    data = tmp_path / "data"
    files = {
        "Attribute/vaw/action": 3,
        "Attribute/vg/action": 1,
        "Object/Location/hake_location/hake_obj_margin": 2,
        "Object/Size/swig_size/swig_agent/swig_agent_small": 0,
        "Relation/swig_action": 2,
        "Relation/vg/spatial": 2,
    }
    for name, count in files.items():
        write(data / f"{name}.json", rows(count))
    touch(*(tmp_path / source / f"{n}.jpg" for source in ("vg", "swig", "hake") for n in range(3)))
    benchmark = opened(VLCheckList(str(data), per_subset=2), tmp_path)
    assert (benchmark.listed, benchmark.used) == (10, 9)
    assert benchmark.captions[:2] == ["p0", "n0"]
    assert [name for name in benchmark.averages] == [
        "vl_checklist/Attribute/action",
        "vl_checklist/Object/Location",
        "vl_checklist/Relation/action",
        "vl_checklist/Relation/spatial",
        "vl_checklist/mean of 4 types",
        "vl_checklist/mean of 3 groups",
    ]
    values = torch.zeros(len(benchmark.pictures), len(benchmark.captions))
    for row in benchmark.rows:
        if row.example.subset.endswith(("vaw/action", "spatial")):
            values[row.pictures[0], row.true[0]] = 1.0
    scores = benchmark.score(benchmark.judge(Table(values)))
    # Pictures of vg are one for vaw, vg and spatial, and so are the captions.
    assert scores["vl_checklist/Attribute/action"].value == 1.0
    assert scores["vl_checklist/mean of 4 types"].value == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert scores["vl_checklist/mean of 3 groups"].value == pytest.approx((1 + 0 + 0.5) / 3)


def test_image_pairs(tmp_path):
    lines = [
        {"id": 0, "caption_0": "a", "caption_1": "b", "image_0": "ex_0_img_0", "image_1": "ex_0_img_1", "tag": "x"},
        {"id": 1, "caption_0": "c", "caption_1": "d", "image_0": "ex_1_img_0", "image_1": "ex_1_img_1"},
    ]
    (tmp_path / "examples.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    touch(*(tmp_path / "images" / f"ex_{i}_img_{j}.png" for i in (0, 1) for j in (0, 1)))
    benchmark = opened(ImagePairs("examples.jsonl"), tmp_path)
    values = torch.zeros(4, 4)
    values[0, 0], values[1, 1], values[0, 1], values[1, 0] = 0.9, 0.3, 0.2, 0.4  # text both ways no; match yes
    values[2, 2] = values[3, 3] = 1.0
    scores = {name: s.value for name, s in benchmark.score(benchmark.judge(Table(values))).items()}
    assert scores == {"winoground/text": 0.5, "winoground/image": 1.0, "winoground/group": 0.5, "winoground/match": 1.0}


def test_a_caption_that_two_pictures_have_is_two_texts(tmp_path):
    rows = [{"image": "1.jpg", "caption": ["a", "same"]}, {"image": "2.jpg", "caption": ["same", "b"]}]
    touch(tmp_path / "1.jpg", tmp_path / "2.jpg")
    file = write(tmp_path / "test.json", rows)
    benchmark = opened(CaptionRetrieval(file, ks=[1]), tmp_path)
    assert (benchmark.listed, benchmark.used, benchmark.captions) == (4, 4, ["a", "same", "b"])
    scores = benchmark.score(benchmark.judge(Table(torch.tensor([[0.1, 0.9, 0.2], [0.3, 0.9, 0.8]]))))
    assert (scores["coco/i2t_r@1"].value, scores["coco/i2t_r@1"].ties) == (0.0, 2)
    assert scores["coco/t2i_r@1"].value == pytest.approx(1 / 4)  # b alone; "same" is level, "a" nearer to the other
    assert opened(CaptionRetrieval(file, captions_each=1), tmp_path).used == 2


def test_missing_pictures_are_listed_and_can_be_left_out(tmp_path):
    parts = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")
    row = {"caption": "c", "negative_caption": "n"}
    for part in parts:
        write(
            tmp_path / f"{part}.json", {"0": row | {"filename": "000000000001.jpg"}, "7": row | {"filename": "2.jpg"}}
        )
    touch(tmp_path / "train2017" / "000000000001.jpg")
    with pytest.raises(DataError, match=r"SugarCrepe: 1 pictures are not in .*: 2\.jpg; fetch .*allow_missing: 1"):
        opened(SugarCrepe(str(tmp_path)), tmp_path)
    benchmark = SugarCrepe(str(tmp_path), allow_missing=0)
    with pytest.raises(DataError):
        opened(benchmark, tmp_path)
    touch(tmp_path / "2.jpg")
    assert opened(benchmark, tmp_path).used == 14, "a picture that was added is found by the same object"
    (tmp_path / "2.jpg").unlink()
    benchmark = opened(SugarCrepe(str(tmp_path), allow_missing=1), tmp_path)
    assert (benchmark.listed, benchmark.used) == (14, 7)
    with pytest.raises(ConfigError, match="allow_missing of SugarCrepe is -1"):
        SugarCrepe("x", allow_missing=-1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no file .*replace_obj\.json; fetch data"),
        ("{", r"replace_obj\.json is not JSON: .* at line 1, column 2"),
        ('{"4": {}, "5": {}, "4": {}}', r"replace_obj\.json: an object has the key '4' twice; mend it or fetch"),
        ('{"4": {"caption": "a", "caption": "b"}}', r"replace_obj\.json: an object has the key 'caption' twice"),
        ("[" * 100_000, r"replace_obj\.json is nested too deeply"),
        ("3", r"replace_obj\.json holds a int, expected is a list or an object of rows"),
        ('{"4": 5}', r"replace_obj\.json: row '4' is of type int, expected is an object"),
        ('{"4": {"filename": "x"}}', r"row '4' has no key 'caption', expected is text; it has filename"),
        ('{"4": {"filename": "x", "caption": 5}}', r"row '4' has '5' as 'caption', expected is text"),
    ],
)
def test_files_of_another_shape_are_said_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "replace_obj.json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        opened(SugarCrepe(str(tmp_path)), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("box", [(1, 2, 1, 6), (5, 2, 3, 6), (30, 2, 33, 6), (-1, 2, 3, 6)])
def test_a_rectangle_that_is_not_in_its_picture_is_unreadable(tmp_path, box):
    Image.new("RGB", (20, 10)).save(tmp_path / "1.png")
    assert PictureFile(tmp_path / "1.png", (1, 2, 9, 9)).pixels(PREPROCESS).shape == (3, 32, 32)
    with pytest.raises(DataError, match=r"cannot use the rectangle .* which is 20x10; take it out") as caught:
        PictureFile(tmp_path / "1.png", box).pixels(PREPROCESS)
    assert "\n" not in str(caught.value)


def test_rectangles_of_one_file_are_resampled_together(tmp_path):
    file = crops(tmp_path, "attributes", [["red", "blue"]] * 3)
    rows = json.loads(Path(file).read_text())
    for number, row in enumerate(rows):
        row["bbox_x"] = number
    write(Path(file), rows)
    benchmark = opened(AroAttribution(file), tmp_path)
    assert len(benchmark.pictures) == 3
    assert benchmark.judge(Table(torch.rand(3, 6))).cluster.tolist() == [0, 0, 0]


def test_pairs_that_share_a_picture_are_resampled_together(tmp_path):
    lines = [
        {"id": n, "caption_0": "a", "caption_1": "b", "image_0": one, "image_1": other}
        for n, (one, other) in enumerate(
            [("1.png", "2.png"), ("3.png", "4.png"), ("5.png", "3.png"), ("6.png", "5.png")]
        )
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    touch(*(tmp_path / f"{n}.png" for n in range(1, 7)))
    benchmark = opened(ImagePairs("pairs.jsonl", name="mine"), tmp_path)
    cluster = benchmark.judge(Table(torch.rand(6, 2))).cluster[:4].tolist()
    assert cluster[1] == cluster[2] == cluster[3] != cluster[0]


def test_ids_of_retrieval_stay_where_a_picture_is_missing(tmp_path):
    rows = [{"image": f"{n}.jpg", "caption": [f"a {n}", f"b {n}"]} for n in range(3)]
    file = write(tmp_path / "test.json", rows)
    touch(tmp_path / "1.jpg", tmp_path / "2.jpg")
    benchmark = opened(CaptionRetrieval(file, ks=[1], allow_missing=1), tmp_path)
    values = torch.rand(2, 4)
    assert list(benchmark.judge(Table(values)).ids) == ["1", "2", "1/0", "1/1", "2/0", "2/1"]
    values[0] = torch.nan
    assert list(benchmark.judge(Table(values)).ids) == ["2", "2/0", "2/1"]
