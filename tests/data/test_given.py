"""Given negatives: what each published form says, what fills which slot, and what is wrong with a row."""

import csv
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from coco_harness import PREPROCESS, picture

from lightning_cr.data.base import sample_rng
from lightning_cr.data.given import GivenNegatives
from lightning_cr.errors import ConfigError, DataError
from tests.conftest import COCO, ROOT, losses


def opened(root, train, **options):
    source = GivenNegatives(train, **options)
    return source, *source.open(root, PREPROCESS, seed=0)


def refused(root, train, **options):
    with pytest.raises((DataError, ConfigError)) as caught:
        opened(root, train, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def texts(split, epoch=0):
    """Caption to its negatives by slot."""
    samples = [split.sample(index, sample_rng(0, epoch, index), epoch) for index in range(len(split))]
    return {s.caption: {slot: negative.text for slot, (negative, _) in s.negatives.items()} for s in samples}


def lines(root, *rows, name="train.jsonl"):
    (root / name).write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return name


@pytest.fixture
def root(tmp_path):
    for number in (1, 2, 3):
        picture(tmp_path / f"{number}.png", number)
    return tmp_path


PAIRS = [
    {"image": "1.png", "caption": "a red dog", "negatives": [{"text": "a blue dog", "kind": "replace_att"}]},
    {"image": "2.png", "caption": "a cat", "negatives": [{"text": "a cow", "kind": "replace_obj"}]},
]


# The forms


def tsv(path, rows, name="{}"):
    with path.open("w", newline="") as file:
        out = csv.writer(file, delimiter="\t")
        out.writerow(["", "title", "filepath", "neg_caption", "neg_image"])
        for number, (title, image, negatives, similar) in enumerate(rows):
            out.writerow([number, title, name.format(image), repr(negatives), repr(similar)])


ROWS = [
    ("a dog on a cat", "1.png", ["a cat on a dog", "a dog in a cat", "on a dog a cat"], [1, 2]),
    ("a tall cat", "2.png", ["a small cat"], [2, 99]),
    ("a cow", "3.png", [], []),
]


def test_negclips_file_draws_one_of_its_negatives_anew_in_each_epoch(root):
    tsv(root / "train.tsv", ROWS)
    source, train, val = opened(root, "train.tsv")
    assert source.kinds == ("given",)
    assert (len(train), train.pictures, len(val)) == (3, 3, 0)
    drawn = [texts(train, epoch) for epoch in range(20)]
    assert {found["a dog on a cat"]["given"] for found in drawn} == set(ROWS[0][2])
    assert drawn[0] == texts(train, 0)
    assert all(found["a tall cat"] == {"given": "a small cat"} for found in drawn)
    assert all(found["a cow"] == {} for found in drawn)


def test_several_negatives_fill_slots_of_their_own(root):
    tsv(root / "train.tsv", ROWS)
    source, train, _ = opened(root, "train.tsv", slots=2)
    assert source.kinds == ("given_0", "given_1")
    drawn = [texts(train, epoch)["a dog on a cat"] for epoch in range(20)]
    assert {tuple(found) for found in drawn} == {("given_0", "given_1")}
    for found in drawn:  # each once, in the order of the file
        places = [ROWS[0][2].index(text) for text in found.values()]
        assert places[0] < places[1]
    assert texts(train)["a tall cat"] == {"given_0": "a small cat"}


def test_a_similar_picture_comes_with_its_caption(root):
    tsv(root / "train.tsv", ROWS)
    source, train, _ = opened(root, "train.tsv", similar=True, crop_scale=(1.0, 1.0))
    assert source.kinds == ("given", "similar")
    seen = set()
    for epoch in range(20):
        negative, image = train.sample(0, sample_rng(0, epoch, 0), epoch).negatives["similar"]
        seen.add((negative.text, int(image[0, 0, 0])))
    assert seen == {("a tall cat", 2), ("a cow", 3)}
    negative, _ = train.sample(1, sample_rng(0, 0, 1), 0).negatives["similar"]
    assert negative.text == "a cow", "a row that is not in the file is nobody's"
    assert "similar" not in train.sample(2, sample_rng(0, 0, 2), 0).negatives


CE = {
    "image_id": 7,
    "id": 1,
    "caption": "a dog chases a cat",
    "relation_aug_caption": "a cat chases a dog",
    "adj_aug_caption": "###",
    "noun_aug_caption": "a dog chases a bus",
    "verb_aug_caption": "a dog eats a cat",
    "valid_caption": [1, 1, 0, 1, 0],
}


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_ceclips_records_fill_the_slots_of_ahnpl_where_they_are_valid(root, name):
    picture(root / "train2017" / "000000000007.png", 7)
    (root / name).write_text(json.dumps([CE] if name == "train.json" else CE))
    source, train, _ = opened(root, name)
    assert source.kinds == ("swap_obj", "replace_obj")
    assert texts(train) == {CE["caption"]: {"swap_obj": "a cat chases a dog", "replace_obj": "a dog chases a bus"}}
    ahnpl = dict(CE, adj_swap_aug_caption="a x", valid_caption=[1, 0, 0, 0, 1, 1])
    (root / "ahnpl.jsonl").write_text(json.dumps(ahnpl))
    assert opened(root, "ahnpl.jsonl")[0].kinds == ("replace_rel", "swap_att")


def test_ceclips_placeholder_is_none_whatever_its_list_says(root):
    record = {key: value for key, value in CE.items() if key != "valid_caption"} | {"image_path": "1.png"}
    source, train, _ = opened(root, lines(root, record))
    assert source.kinds == ("swap_obj", "replace_obj", "replace_rel")
    assert "###" not in texts(train)[CE["caption"]].values()


@pytest.mark.parametrize(
    "negatives",
    [
        [{"text": "a bus", "kind": "replace_obj"}, {"text": "a red dog", "kind": "add_att"}, {"text": "an ox"}],
        {"replace_obj": "a bus", "add_att": ["a red dog"], "given": "an ox", "swap_obj": None},
    ],
)
@pytest.mark.parametrize("name", ["train.jsonl", "train.parquet", "train.json"])
def test_a_file_of_our_own(root, name, negatives):
    row = {"image": "1.png", "caption": "a dog", "negatives": negatives}
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist([row]), root / name)
    else:
        (root / name).write_text(json.dumps(row if name.endswith("l") else [row]))
    source, train, _ = opened(root, name)
    assert set(source.kinds) == {"replace_obj", "add_att", "given"}
    assert texts(train)["a dog"] == {"replace_obj": "a bus", "add_att": "a red dog", "given": "an ox"}


def test_arrows_map_type_and_plain_texts(root):
    table = pa.table(
        {
            "image": ["1.png", "2.png"],
            "caption": ["a dog", "a cat"],
            "negatives": pa.array([[("k", "x")], []], pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, root / "train.parquet")
    assert texts(opened(root, "train.parquet")[1]) == {"a dog": {"k": "x"}, "a cat": {}}
    name = lines(root, {"image": "1.png", "caption": "a dog", "negatives": ["x", "y"]})
    assert texts(opened(root, name, slots=2)[1]) == {"a dog": {"given_0": "x", "given_1": "y"}}


def test_a_negative_says_what_was_changed_and_how_concrete_it_is(root):
    negative = {"text": "a blue dog", "kind": "replace_att", "concreteness": 0.75}
    name = lines(root, {"image": "1.png", "caption": "a red dog", "negatives": [negative]})
    made, no_picture = opened(root, name)[1].sample(0, sample_rng(0, 0, 0), 0).negatives["replace_att"]
    assert (made.original, made.replacement, made.start, made.end) == ("red", "blue", 2, 5)
    assert made.concreteness == 0.75
    assert no_picture is None


def test_several_files_are_read_as_one(root):
    tsv(root / "part1.tsv", ROWS[:1])
    tsv(root / "part2.tsv", [("a tall cat", "2.png", ["x"], [1]), ROWS[2]])
    train = opened(root, "part*.tsv", similar=True)[1]
    assert set(texts(train)) == {row[0] for row in ROWS}
    assert texts(train)["a tall cat"]["similar"] == "a cow", "row numbers are those of the row's own file"


# Slots


def test_the_configuration_chooses_the_kinds_and_their_order(root):
    name = lines(root, *PAIRS)
    assert opened(root, name)[0].kinds == ("replace_att", "replace_obj")
    source, train, _ = opened(root, name, kinds=["replace_obj"])
    assert source.kinds == ("replace_obj",)
    assert texts(train) == {"a red dog": {}, "a cat": {"replace_obj": "a cow"}}
    said = refused(root, name, kinds=["replace_ob"])
    assert "Did you mean 'replace_obj'" in said
    many = [{"text": "x", "kind": f"k{number}"} for number in range(40)]
    assert "--data.source.kinds" in refused(root, lines(root, dict(PAIRS[0], negatives=many)))


def test_workers_and_pickling_change_nothing(root):
    tsv(root / "train.tsv", ROWS)
    _, train, _ = opened(root, "train.tsv", similar=True)
    assert texts(pickle.loads(pickle.dumps(train))) == texts(train)


# Pictures


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("coco/val2014/COCO_val2014_000000000001.png", "coco/val2014/COCO_val2014_000000000001.png"),
        ("val2014/COCO_val2014_000000000001.png", "coco/val2014/COCO_val2014_000000000001.png"),
        ("val2014/COCO_val2014_000000000001.png", "/elsewhere/coco/val2014/COCO_val2014_000000000001.png"),
        ("images/train2017/000000000001.png", "coco/val2014/COCO_val2014_000000000001.jpg"),
        ("train2017/000000000001.png", 1),
        ("train2017/000000000001.png", "1"),
    ],
)
def test_a_picture_is_found_in_whatever_tree(tmp_path, there, asked):
    picture(tmp_path / there, 1)
    _, train, _ = opened(tmp_path, lines(tmp_path, {"image": asked, "caption": "a dog", "negatives": {"k": "x"}}))
    (image_id,) = train.image_ids
    assert train.image_path(image_id) == tmp_path / there
    with pytest.raises(DataError, match="image id 0 is not in this split"):
        train.image_path(0)


def test_a_name_that_is_only_a_number_is_not_taken_for_cocos(tmp_path):
    picture(tmp_path / "train2017/000000000007.png", 7)
    assert "7.png" in refused(tmp_path, lines(tmp_path, {"image": "mine/7.png", "caption": "x", "negatives": []}))


def test_captions_of_one_picture_share_its_id(root):
    rows = [PAIRS[0], PAIRS[1], dict(PAIRS[0], caption="the dog")]
    _, train, _ = opened(root, lines(root, *rows))
    samples = [train.sample(index, sample_rng(0, 0, index), 0) for index in range(3)]
    one, two = train.image_ids
    assert [(s.caption, s.image_id, s.sample_id) for s in samples] == [
        ("a red dog", one, 0),
        ("the dog", one, 1),
        ("a cat", two, 2),
    ]
    assert list(train.texts) == ["a red dog", "the dog", "a cat"]
    _, other, _ = opened(root, lines(root, PAIRS[1], PAIRS[0], rows[2]))
    again = [other.sample(index, sample_rng(0, 0, index), 0) for index in range(3)]
    turned = {s.caption: s.image_id for s in again}
    assert turned == {s.caption: s.image_id for s in samples}, "whatever the order of the rows"
    assert min(one, two) >= 0


def test_an_unreadable_picture_is_replaced_by_another_with_its_own_negatives(root):
    (root / "1.png").write_bytes(b"broken")
    _, train, _ = opened(root, lines(root, *PAIRS))
    sample = train.sample(0, sample_rng(0, 0, 0), 0)
    assert sample.caption == "a cat"
    assert sample.negatives["replace_obj"][0].text == "a cow"
    assert "1.png" in sample.skipped[0]


# Bad input


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{broken", ["no JSON"]),
        ("[1]", ["list", "not an object"]),
        ({"image": "1.png", "negatives": []}, ["no caption"]),
        ({"image": "1.png", "caption": " ", "negatives": []}, ["no caption"]),
        ({"image": "1.png", "caption": 7, "negatives": []}, ["no caption", "7"]),
        ({"caption": "x", "negatives": []}, ["no picture"]),
        ({"image": True, "caption": "x", "negatives": []}, ["no picture"]),
        ({"image": "gone.png", "caption": "x", "negatives": []}, ["no picture gone.png"]),
        ({"image": 12, "caption": "x", "negatives": []}, ["no picture 12"]),
        ({"image": "1.png", "caption": "x"}, ["no negatives", "neg_caption"]),
        ({"image": "1.png", "caption": "x", "negatives": 3}, ["negatives is 3"]),
        ({"image": "1.png", "caption": "x", "negatives": [{"kind": "k"}]}, ["a negative is None"]),
        ({"image": "1.png", "caption": "x", "negatives": {"a b": "y"}}, ["kind is 'a b'"]),
        ({"image": "1.png", "caption": "x", "neg_caption": "['a'"}, ["neg_caption is no list", "['a'"]),
        ({"image": "1.png", "caption": "x", "neg_caption": "__import__('os')"}, ["neg_caption is no list"]),
        ({"image": "1.png", "caption": "x", "neg_caption": "[" * 5000}, ["neg_caption is no list"]),
        ({"image": "1.png", "caption": "x", "neg_caption": "[1]"}, ["a negative is 1"]),
        ({"image": "1.png", "caption": "x", "neg_caption": "[]", "neg_image": "['a']"}, ["neg_image"]),
        (dict(CE, image="1.png", valid_caption=[1, 1]), ["valid_caption is [1, 1]"]),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_bad_row_is_skipped_and_told_with_its_line(root, row, words):
    name = lines(root, *PAIRS, row)
    source, train, _ = opened(root, name)
    assert len(train) == 2
    assert len(source.skipped) == 1
    for word in [f"{root / name} line 3", *words]:
        assert word in source.skipped[0]
    said = refused(root, name, max_skipped=0)
    assert "--data.source.max_skipped=1" in said
    assert words[0] in said


def test_a_table_with_a_short_row_or_without_a_column(root):
    tsv(root / "train.tsv", ROWS)
    with (root / "train.tsv").open("a") as file:
        file.write("3\tonly a title\n")
    source, train, _ = opened(root, "train.tsv")
    assert len(train) == 3
    assert "train.tsv line 5: no picture" in source.skipped[0]
    (root / "other.tsv").write_text("title\tpath\nx\ty\n")
    said = refused(root, "other.tsv")
    assert "filepath, neg_caption" in said
    assert "title, path" in said


@pytest.mark.parametrize("name", ["train.tsv", "train.json", "train.jsonl", "train.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{}", b"[" * 100_000, b'["\\ud800"]'])
def test_a_file_that_is_something_else_is_refused_in_one_line(root, name, content):
    (root / name).write_bytes(content)
    assert name in refused(root, name)


def test_lone_surrogates_and_other_scripts_survive(root):
    rows = [
        {"image": "1.png", "caption": "\ud800 狗", "negatives": {"k": "\ud83d 猫"}},
        {"image": "2.png", "caption": "word " * 5000, "negatives": {"k": "🙂"}},
    ]
    found = texts(opened(root, lines(root, *rows))[1])
    assert found["? 狗"] == {"k": "? 猫"}
    assert len(found) == 2


def test_a_negative_that_says_the_same_is_left_out_and_counted(root):
    negatives = {"given": ["A red  dog .", "a blue dog", " "]}
    row = {"image": "1.png", "caption": "a red dog.", "negatives": negatives}
    source, train, _ = opened(root, lines(root, row), slots=3)
    assert texts(train)["a red dog."] == {"given_0": "a blue dog"}
    assert source.left_out == {"equal": 1, "empty": 1}


def test_a_pickle_is_refused_with_the_way_around(root):
    np.save(root / "train.npy", np.array([CE], dtype=object), allow_pickle=True)
    said = refused(root, "train.npy")
    assert "run code" in said
    assert "json.dump" in said


def test_what_is_missing_is_said(root, tmp_path):
    name = lines(root, *PAIRS)
    assert "--data.root" in refused(None, name)
    assert str(root / "gone") in refused(root / "gone", name)
    assert "--data.source.train" in refused(root, "gone.jsonl")
    assert "--data.source.train" in refused(root, "gone*.jsonl")
    assert "--data.source.val" in refused(root, name, val="gone.jsonl")
    assert "none of the pictures" in refused(root, lines(root, dict(PAIRS[0], image="x/y.png"), name="b.jsonl"))
    with pytest.raises(ConfigError, match="slots"):
        GivenNegatives("x", slots=0)


def test_an_evaluation_needs_no_training_file(root):
    source, train, val = opened(root, "gone.jsonl", val=lines(root, *PAIRS))
    assert "gone.jsonl" in source.no_training
    assert (len(train), val.pictures) == (0, 2)


# The published file, and the command line


def test_negclips_published_file(shared, tmp_path):
    path = shared / "negclip" / "valid_neg_clip.head200.tsv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for number, row in enumerate(rows):  # made pictures of those names: the real ones are not here
        picture(tmp_path / row["filepath"], number % 256)
    source, train, _ = opened(tmp_path, str(path), similar=True, max_skipped=0)
    assert len(train) == len(rows) == 200
    assert source.kinds == ("given", "similar")
    found = texts(train)
    filled = sum("given" in slots for slots in found.values())
    assert filled >= 0.99 * len(found)
    assert found["There are two sinks next to two mirrors."]["given"] == "There are two mirrors next to two sinks ."


def test_the_configuration_trains_on_a_file_of_its_own(cli, root, tmp_path, capsys):
    rows = [dict(pair, caption=f"{pair['caption']} {n}") for n in range(4) for pair in PAIRS]
    name = lines(root, *rows)
    ours = {"coco": ROOT / "configs/given.yaml"}
    small = [ours.get(getattr(word, "stem", ""), word) for word in COCO]
    method = (*small, "--trainer.log_every_n_steps", 1, "--data.root", root, "--data.source.train", name)
    assert cli("fit", *method, "--data.source.val", name, "--data.negatives.rules", "{}") == 0, capsys.readouterr().err
    run = tmp_path / "runs/ahnpl/version_0"
    assert len(losses(run)) == 2
    assert json.loads((run / "results.json").read_text())["after"]["retrieval/i2t_r@1"]["n"] == 2
    assert "train/negatives_per_caption" in (run / "metrics.csv").read_text()
    nothing = ("--data.source.val", "null", "--data.benchmarks", "{}", "--trainer.limit_val_batches", 0)
    assert cli("fit", *method, *nothing) == 0, capsys.readouterr().err
    assert len(losses(tmp_path / "runs/ahnpl/version_1")) == 2
    capsys.readouterr()
    assert cli("fit", *method, "--data.source.slots", 0) == 1
    assert "--data.source.slots" in capsys.readouterr().err
