"""Each reader on the real annotation files, row for row, and on small files of the same shape."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_cr.benchmarks import (
    AroAttribution,
    AroOrder,
    AroRelation,
    CaptionRetrieval,
    ImagePairs,
    SugarCrepe,
    SugarCrepePP,
    Valse,
    VLCheckList,
)
from lightning_cr.benchmarks.averages import Tally
from lightning_cr.benchmarks.base import Scoring, Similarity
from lightning_cr.benchmarks.blind import ShorterCaption
from lightning_cr.benchmarks.pictures import PictureFile
from lightning_cr.benchmarks.sugarcrepe import SEVEN
from lightning_cr.benchmarks.suite import Suite
from lightning_cr.data.trained_on import count_trained_on, read_numbers
from lightning_cr.encoders.base import Preprocess
from lightning_cr.errors import ConfigError, DataError

DATA = Path(os.environ.get("LIGHTNING_CR_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = pytest.mark.skipif(
    not (DATA / "sugarcrepe").is_dir(), reason=f"no annotations in {DATA}; set LIGHTNING_CR_TEST_DATA"
)
PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)


class Table(Similarity):
    """Hand-made similarities, by picture and caption, and by caption and caption."""

    def __init__(self, values, texts=None):
        self.values, self.texts = torch.as_tensor(values), texts

    def between(self, pictures, captions):
        return self.values[pictures, captions]

    def among_captions(self, one, other):
        return torch.as_tensor(self.texts)[one, other]


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return str(path)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def opened(benchmark, root):
    benchmark.open(root, PREPROCESS, held_out=None)
    return benchmark


@pytest.fixture(scope="module")
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


@REAL
def test_counts_of_the_real_files(tree):
    benchmarks = {
        "sugarcrepe": SugarCrepe(str(DATA / "sugarcrepe")),
        "sugarcrepe++": SugarCrepePP(str(DATA / "sugarcrepe_pp")),
        "valse": Valse(str(DATA / "valse")),
        "coco": CaptionRetrieval(str(DATA / "retrieval/coco_karpathy_test.json")),
    }
    for benchmark in benchmarks.values():
        opened(benchmark, tree)
    counts = {name: (b.listed, b.used, b.duplicates) for name, b in benchmarks.items()}
    assert counts == {
        "sugarcrepe": (7511, 7511, 0),
        "sugarcrepe++": (4757, 4757, 1),
        "valse": (8782, 7702, 0),
        "coco": (25010, 25010, 0),
    }
    assert [len(b.pictures) for b in benchmarks.values()][:2] == [1560, 1542]
    assert len(benchmarks["sugarcrepe"].captions) == 11844
    assert len(benchmarks["sugarcrepe++"].captions) == 13189
    both = Suite({name: benchmarks[name] for name in ("sugarcrepe", "sugarcrepe++")})
    assert (len(both.pictures), len(both.captions)) == (1560, 18372)
    assert len(Suite(benchmarks).pictures) == 11819


@REAL
def test_pieces_of_valse(tree):
    """Rows, valid rows and distinct pictures of these, as the reference page counts them."""
    rows = {
        "existence": (534, 505, 505),
        "plurals": (1000, 851, 803),
        "counting-hard": (1000, 868, 868),
        "counting-small-quant": (1000, 900, 900),
        "counting-adversarial": (756, 691, 691),
        "relations": (614, 535, 486),
        "action-replacement": (779, 648, 648),
        "actant-swap": (1042, 949, 949),
        "coreference-standard": (916, 708, 708),
        "coreference-hard": (141, 104, 104),
        "foil-it": (1000, 943, 936),
    }
    benchmark = opened(Valse(str(DATA / "valse")), tree)
    listed = {piece: len(json.loads((DATA / f"valse/{piece}.json").read_text())) for piece in rows}
    used = {piece: [r for r in benchmark.rows if r.example.subset == f"valse/{piece}"] for piece in rows}
    found = {piece: (listed[piece], len(used[piece]), len({r.example.images for r in used[piece]})) for piece in rows}
    assert found == rows
    assert benchmark.contradictory == 0, "rows whose foil is the caption are not valid ones"


@REAL
def test_rows_that_no_model_gets_right_are_counted(tree):
    benchmark = opened(SugarCrepePP(str(DATA / "sugarcrepe_pp")), tree)
    alike = [r.example for r in benchmark.rows if set(r.true) & set(r.false)]
    assert [(example.subset, example.id) for example in alike] == [("swap_obj", "2"), ("swap_obj", "8")]
    assert benchmark.contradictory == 2
    assert opened(SugarCrepe(str(DATA / "sugarcrepe")), tree).contradictory == 0


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


def small_tree(tmp_path):
    """SugarCrepe of one row a part, on pictures 1 to 7 of COCO."""
    row = {"caption": "c", "negative_caption": "n"}
    for number, part in enumerate(SEVEN, 1):
        write(tmp_path / f"sugarcrepe/{part}.json", {"0": row | {"filename": f"{number:012d}.jpg"}})
        touch(tmp_path / f"val2017/{number:012d}.jpg")
    return tmp_path


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


@REAL
def test_the_shorter_caption_solves_what_is_added(tree):
    benchmark = opened(SugarCrepe(str(DATA / "sugarcrepe")), tree)
    judged = benchmark.judge(ShorterCaption(benchmark.captions))
    scores = {name: 100 * s.value for name, s in benchmark.score(judged, Scoring("half", 0)).items()}
    assert scores["sugarcrepe/add_att"] == pytest.approx(99.6, abs=0.05)
    assert scores["sugarcrepe/add_obj"] == pytest.approx(99.0, abs=0.05)
    assert scores["sugarcrepe/replace_rel"] == pytest.approx(64.2, abs=0.05)
    assert scores["sugarcrepe/replace_att"] == pytest.approx(53.4, abs=0.05)


@REAL
def test_two_rows_of_sugarcrepe_pp_cannot_be_right(tree):
    benchmark = opened(SugarCrepePP(str(DATA / "sugarcrepe_pp")), tree)
    false = torch.tensor([row.false[0] for row in benchmark.rows])
    values = torch.ones(len(benchmark.pictures), len(benchmark.captions))
    texts = torch.ones(len(benchmark.captions), len(benchmark.captions))
    always = set(false.tolist())
    values[:, list(always)] = texts[list(always)] = texts[:, list(always)] = 0.0
    # Captions that are false in one row and true in another spoil rows here, so only swap_obj's two are looked at.
    scores = benchmark.score(benchmark.judge(Table(values, texts)))
    judged = benchmark.judge(Table(values, texts))
    place = {
        f"{judged.subsets[s]}:{i}": m for s, i, m in zip(judged.subset.tolist(), judged.ids, judged.margin, strict=True)
    }
    assert place["sugarcrepe++/itt swap_obj:2"] <= 0
    assert place["sugarcrepe++/itt swap_obj:8"] <= 0
    assert scores["sugarcrepe++/itt swap_obj"].value <= 243 / 245


def averaged(benchmark, figures, sizes=None):
    """What a benchmark's averages make of accuracies in %."""
    names = list(figures)
    count = torch.tensor([[float(sizes[name]) if sizes else 1000.0 for name in names]], dtype=torch.float64)
    right = torch.tensor([list(figures.values())], dtype=torch.float64) / 100 * count
    tally = Tally(right.T, count.T, torch.zeros(len(names), dtype=torch.long))
    place = {name: at for at, name in enumerate(names)}
    return {name: round(100 * value, 1) for name, (value, *_) in tally.values(benchmark.averages, place).items()}


def test_the_averages_of_the_reference_page_for_sugarcrepe():
    """CLIP ViT-B/32: the same seven numbers give four averages."""
    kinds = ("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att")
    figures = dict(zip(kinds, (90.92, 80.08, 69.20, 61.22, 63.96, 77.21, 68.79), strict=True))
    sizes = dict(zip(kinds, (1652, 788, 1406, 245, 666, 2062, 692), strict=True))
    prefixed = [{f"sugarcrepe/{name}": value for name, value in table.items()} for table in (figures, sizes)]
    assert averaged(SugarCrepe("x"), *prefixed) == {
        "sugarcrepe/micro": 76.6,
        "sugarcrepe/mean of 7": 73.1,
        "sugarcrepe/mean of 3, pooled": 73.0,
        "sugarcrepe/mean of 3, means": 71.9,
    }


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((69.3, 57.6, 64.5, 61.9, 58.2, 66.0, 77.8, 71.8, 54.9, 51.9, 90.1), (65.8, 67.5, 67.4)),
        ((78.4, 77.9, 68.7, 71.8, 60.9, 73.8, 81.2, 87.6, 59.9, 62.5, 94.3), (74.3, 76.7, 76.0)),
    ],
    ids=["CLIP", "CE-CLIP"],
)
def test_the_averages_of_the_reference_page_for_valse(figures, expected):
    from lightning_cr.benchmarks.valse import PIECES

    sizes = (505, 851, 868, 900, 691, 535, 648, 949, 708, 104, 943)
    named = [dict(zip((f"valse/{p}" for p in PIECES), values, strict=True)) for values in (figures, sizes)]
    found = averaged(Valse("x"), *named)
    assert (found["valse/mean of 11"], found["valse/mean of 7"]) == expected[:2]
    assert found["valse/micro"] == pytest.approx(expected[2], abs=0.1)  # of figures that are rounded


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


@REAL
def test_a_few_rows_of_each_part_for_a_look(tree):
    benchmark = opened(SugarCrepe(str(DATA / "sugarcrepe"), per_subset=20), tree)
    assert (benchmark.listed, benchmark.used) == (7511, 140)
    assert [row.example.id for row in benchmark.rows[:20]] == [str(n) for n in range(20)]
    with pytest.raises(ConfigError, match=r"per_subset of SugarCrepe is -1; it must be 0 \(all\) or more"):
        SugarCrepe("", per_subset=-1)


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
