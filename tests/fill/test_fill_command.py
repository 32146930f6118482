"""The command ``fill``: what a model's words must be to get through, stopping and going on, and what is refused."""

import json
import sys

import pytest
from tiny_models import bert, roberta

from lightning_cr.fill import command
from lightning_cr.negatives.text.fills import Fills

pytest.importorskip("transformers", reason="needs the extra mlm")
pytestmark = pytest.mark.filterwarnings("ignore:.*SwigPy.*:DeprecationWarning")

CAPTIONS = [
    "A man riding a horse on the beach.",
    "Two dogs near a red couch.",
    "A woman holding an apple on a street.",
    "Three cats on a table.",
    "A man eating an apple.",
    "The small dog is under the table.",
]
LIKES = [
    "horses",
    "horse",
    "wave",
    "bike",
    "men",
    "apples",
    "umbrella",
    "cats",
    "umbrellas",
    "blue",
    "walking",
    "under",
]


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*CAPTIONS, CAPTIONS[0]]))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return bert(tmp_path_factory.mktemp("bert"), LIKES)


@pytest.fixture
def fill(cli, captions, model, capsys):
    def run(*arguments, out="filled"):
        code = cli("fill", "--captions", captions, "--model", model, "--device", "cpu", "--out", out, *arguments)
        assert code == 0, capsys.readouterr().err
        return Fills(str(out))

    return run


@pytest.fixture
def refused(refused, captions, model, capsys):
    def run(*arguments, out="filled"):
        capsys.readouterr()  # what saving a model prints
        given = {"--captions": captions, "--model": model, "--out": out}
        return refused("fill", *(part for pair in given.items() for part in pair), *arguments)

    return run


def places(fills, caption):
    return {caption[fill.start : fill.end]: fill.words for fill in fills.of(caption)}


def test_the_likeliest_words_that_make_the_caption_false(fill):
    found = places(fill("--top_k", 2), CAPTIONS[0])
    assert found["horse"] == ("wave", "bike")  # not "horse", nor "horses"
    assert found["man"][0] == "wave"
    assert found["riding"][0] == "walking"
    assert found["on"][0] == "under"
    assert places(fill("--top_k", 2), CAPTIONS[1])["red"] == ("blue", "green")


def test_number_is_kept_and_nothing_is_said_twice(fill):
    found = places(fill(), CAPTIONS[1])
    assert found["dogs"][:3] == ("horses", "men", "apples")
    assert "dogs" not in found["couch"]
    assert "cats" not in places(fill(), CAPTIONS[3])["table"]


def test_what_may_be_true_too_is_left_out(fill):
    fills = fill("--top_k", 50, "--depth", 100)
    assert "sofa" not in places(fills, CAPTIONS[1])["couch"]
    assert "person" not in places(fills, CAPTIONS[0])["man"]  # a man is one
    assert "puppy" not in places(fills, CAPTIONS[5])["dog"]  # another name of it
    assert "small" not in places(fills, CAPTIONS[1])["red"]  # a couch may be both
    assert "sitting" not in places(fills, CAPTIONS[0])["riding"]


def test_pieces_of_words_and_marks_are_none(fill):
    fills = fill("--top_k", 100, "--depth", 100, "--unknown")
    words = {word for caption in CAPTIONS for found in places(fills, caption).values() for word in found}
    assert all(word.isalpha() and len(word) > 1 for word in words)


def test_words_that_nobody_knows_only_if_asked(fill, captions):
    captions.write_text("A zorp near a blick.\n")
    assert places(fill(), "A zorp near a blick.").keys() <= {"near"}
    found = places(fill("--unknown", "--top_k", 50, out="free"), "A zorp near a blick.")["zorp"]
    assert "horse" in found
    assert not {"zorp", "zorps", "blick", "horses", "the", "riding"} & set(found)


def test_byte_pairs_count_as_words_where_a_space_is_before_them(fill, tmp_path):
    folder = roberta(tmp_path / "roberta", [*CAPTIONS * 9, *(f"a {word}" for word in LIKES * 9)], LIKES)
    fills = fill("--model", folder, "--top_k", 2)
    assert places(fills, CAPTIONS[0])["horse"] == ("wave", "bike")
    assert places(fills, CAPTIONS[1])["dogs"] == ("horses", "men")


def test_each_caption_is_filled_once(fill, capsys):
    assert len(fill()) == len(CAPTIONS)
    said = capsys.readouterr().out
    assert "6 different captions, 0 of them filled before" in said
    assert "object: 100.0% of captions" in said
    fill()
    assert "6 of them filled before" in capsys.readouterr().out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("ends_with", [KeyboardInterrupt, MemoryError])
def test_a_run_that_was_stopped_goes_on(cli, fill, captions, model, tmp_path, monkeypatch, ends_with, capsys):
    monkeypatch.setattr(command, "_SHARD", 2)
    fill(out=tmp_path / "whole")
    write, written = command.write_fills, []

    def stops(path, *rest):
        if len(written) == 1:
            raise ends_with
        written.append(path)
        write(path, *rest)

    arguments = ("fill", "--captions", captions, "--model", model, "--device", "cpu", "--out", tmp_path / "cut")
    monkeypatch.setattr(command, "write_fills", stops)
    if ends_with is KeyboardInterrupt:
        assert cli(*arguments) == 130
    else:
        with pytest.raises(MemoryError):
            cli(*arguments)
    assert len(list((tmp_path / "cut").iterdir())) == 1
    monkeypatch.setattr(command, "write_fills", write)
    (tmp_path / "cut" / "half.1.tmp").write_bytes(b"half")  # what a kill leaves
    capsys.readouterr()
    fill(out=tmp_path / "cut")
    assert "2 of them filled before" in capsys.readouterr().out
    (tmp_path / "cut" / "half.1.tmp").unlink()
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_batches_of_any_size_give_the_same(fill, tmp_path):
    one, many = fill("--batch_size", 1, out=tmp_path / "one"), fill(out=tmp_path / "many")
    assert [one.of(caption) for caption in CAPTIONS] == [many.of(caption) for caption in CAPTIONS]


def test_more_captions_come_to_the_same_folder(fill, captions):
    fill()
    captions.write_text("Two men on a street.")
    fills = fill()
    assert len(fills) == len(CAPTIONS) + 1
    assert places(fills, "Two men on a street.")


def test_strange_captions_get_nothing(fill, captions):
    strange = [
        "[MASK]",
        "A dog [MASK] a cat.",
        "word word " * 49 + "word",
        "!!!",
        "一只狗",
        "x" * 70_000,
        "A dog \x07 on \u2028a cat.",
    ]
    captions.write_text("\n".join(strange))
    fills = fill()
    assert [fills.of(text) for text in strange[:6]] == [[]] * 6


def test_a_folder_of_other_fills_is_refused(fill, refused, tmp_path):
    fill()
    said = refused("--top_k", 3)
    assert "holds fills with top_k 5, not 3" in said
    said = refused("--model", bert(tmp_path / "other", ["cat"]))
    assert "name another folder" in said
    assert "'taken' is a file" in refused(out=_file(tmp_path / "taken").name)


def _file(path):
    path.touch()
    return path


def test_a_damaged_file_is_named(fill, refused):
    fill()
    from pathlib import Path

    (damaged,) = Path("filled").glob("*.arrow")
    damaged.write_bytes(b"half")
    assert "is damaged" in refused()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--captions", "gone.txt"), ["gone.txt"]),
        (("--captions", ""), ["--captions is missing", "python -m lightning_cr fill"]),
        (("--out", ""), ["--out is missing"]),
        (("--top_k", 0), ["--top_k is 0", "1 or more"]),
        (("--roles", "noun"), ["--roles has 'noun'", "object, attribute, relation"]),
        (("--roles", "objects"), ["Did you mean 'object'"]),
        (("--wordnet", "gone"), ["'gone' is no folder with WordNet", "run: python -m nltk.downloader wordnet"]),
        (("--lexicon", "coc"), ["Did you mean 'coco'"]),
        (("--device", "tpu"), ["device", "auto, cpu, cuda"]),
        (("--topk", 3), ["Did you mean '--top_k'"]),
    ],
)
def test_values_that_cannot_be_used(refused, arguments, words):
    said = refused(*arguments)
    for word in words:
        assert word in said, said


def test_a_model_that_is_nowhere_names_the_command_and_is_not_waited_for(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    said = refused("--model", "nobody/nothing-of-that-name")
    assert "AutoModelForMaskedLM.from_pretrained('nobody/nothing-of-that-name')" in said
    assert "python -c" in said


def test_a_model_that_fills_no_masks(refused, model, tmp_path):
    import shutil

    from transformers import AutoTokenizer, BertConfig, BertModel, GPT2Config

    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    BertModel(BertConfig.from_pretrained(model)).save_pretrained(bare)
    assert "fills no masks (it has no weights for that)" in refused("--model", bare)
    GPT2Config().save_pretrained(bare)
    assert "fills no masks" in refused("--model", bare)
    BertConfig.from_pretrained(model).save_pretrained(bare)
    shutil.copytree(model, tmp_path / "maskless")
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.mask_token = None
    tokenizer.save_pretrained(tmp_path / "maskless")
    assert "fills no masks" in refused("--model", tmp_path / "maskless")
    (bare / "model.safetensors").unlink()
    assert "cannot be read" in refused("--model", bare)


def test_without_transformers_one_line_installs_it(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "run: pip install 'lightning_cr[mlm]'" in refused()


def test_what_was_filled_is_trained_on(fill, cli, captions, tree, capsys):
    from tests.conftest import COCO

    texts = [
        item["caption"]
        for item in json.loads((tree / "annotations/captions_train2017.json").read_text())["annotations"]
    ]
    captions.write_text("\n".join(texts))
    fill(out="filled")
    rule = "{class_path: MaskedFill, init_args: {source: filled, role: object}}"
    with open("over.yaml", "w") as file:
        file.write(f"data: {{negatives: {{rules: {{replace_obj: {rule}, replace_rel: null}}}}}}")
    arguments = (*COCO, "--config", "over.yaml", "--data.root", tree, "--trainer.max_steps", 2)
    assert cli("fit", *arguments) == 0, capsys.readouterr().err
    assert cli("fit", *arguments, "--data.negatives.rules.replace_obj.source", "gone") == 1
    said = capsys.readouterr().err
    assert "no fills in 'gone'" in said
    assert "python -m lightning_cr fill --captions FILE --out gone" in said


def test_the_command_is_listed(cli, capsys):
    assert cli("--help") == 0
    assert "fill" in capsys.readouterr().out
    assert cli("fill", "--help") == 0
    assert "--top_k" in capsys.readouterr().out
