"""What each stage needs of the source: an evaluation needs nothing to train on."""

from types import SimpleNamespace

import pytest
import torch
from coco_harness import PREPROCESS, TRAIN, VAL, annotations, karpathy, tree, write

from lightning_cr.benchmarks import CaptionRetrieval, HeldOutRetrieval
from lightning_cr.data import CocoFolder, Scenes
from lightning_cr.data.datamodule import CompositionData
from lightning_cr.errors import DataError


class Lengths:
    pad_id, shortens = 0, False

    def __call__(self, texts, context_length=1):
        return torch.tensor([[len(text)] + [0] * (context_length - 1) for text in texts])


def data(root, source=None, **options):
    """A data module as a Trainer sets it up."""
    source = source or CocoFolder()
    module = CompositionData(source, root, batch_size=2, benchmarks={"retrieval": HeldOutRetrieval()}, **options)
    encoder = SimpleNamespace(tokenizer=Lengths(), preprocess=PREPROCESS)
    module.trainer = SimpleNamespace(lightning_module=SimpleNamespace(encoder=encoder))
    return module


def without_annotations(root):
    (root / "annotations" / "captions_train2017.json").unlink()


def without_pictures(root):
    for path in (root / "train2017").iterdir():
        path.unlink()


def without_the_folder(root):
    without_pictures(root)
    (root / "train2017").rmdir()


def with_broken_annotations(root):
    write(root / "annotations" / "captions_train2017.json", "{")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_annotations, r"no COCO annotations: .*captions_train2017\.json.*curl"),
        (without_pictures, r"none of the 3 pictures of .*train2017\.zip"),
        (without_the_folder, r"none of the 3 pictures of .*train2017\.zip"),
        (with_broken_annotations, r"captions_train2017\.json is not JSON"),
    ],
)
@pytest.mark.parametrize("max_skipped", [0, 20])
def test_an_evaluation_needs_nothing_to_train_on_and_a_fit_says_what_it_lacks(tmp_path, spoil, says, max_skipped):
    spoil(tree(tmp_path))
    for stage in ("validate", "test", "predict"):
        module = data(tmp_path, CocoFolder(max_skipped=max_skipped))
        module.setup(stage)
        assert (len(module.train), module.held_out.image_ids, module.skipped) == (0, [4, 5], {})
        chunks = list(module.predict_dataloader() if stage == "predict" else module.val_dataloader()[0])
        assert sum(len(chunk.rows) for chunk in chunks) == len(VAL) + sum(map(len, VAL.values()))
    for either in (module, data(tmp_path)):
        with pytest.raises(DataError, match=says):
            either.setup("fit")


def test_karpathys_file_with_the_pictures_of_val2014_alone_can_be_evaluated(tmp_path):
    for path in (karpathy(tmp_path) / "train2014").iterdir():
        path.unlink()
    module = data(tmp_path, CocoFolder(max_skipped=0))
    module.setup("test")
    assert module.held_out.image_ids == [4, 5]
    with pytest.raises(DataError, match="no picture for image id 1"):
        module.setup("fit")


def test_a_tree_with_nothing_at_all_is_refused_in_every_stage(tmp_path):
    with pytest.raises(DataError, match="no COCO annotations"):
        data(tmp_path).setup("test")
    annotations(tmp_path / "annotations" / "captions_val2017.json", VAL)
    with pytest.raises(DataError, match="no COCO annotations"):
        data(tmp_path).setup("fit")
    annotations(tmp_path / "annotations" / "captions_train2017.json", TRAIN)
    with pytest.raises(DataError, match="no folder of images"):
        data(tmp_path).setup("test")


def test_bad_held_out_entries_still_count_where_the_training_split_is_missing(tmp_path):
    tree(tmp_path, val={**VAL, 6: [""]})
    without_annotations(tmp_path)
    module = data(tmp_path)
    module.setup("test")
    assert len(module.skipped) == 1
    with pytest.raises(DataError, match="1 entries of the data set cannot be used, 0 are allowed"):
        data(tmp_path, CocoFolder(max_skipped=0)).setup("test")


def test_a_whole_tree_serves_every_stage(tmp_path):
    module = data(tree(tmp_path))
    module.setup("test")
    module.setup("fit")
    assert (len(module.train), module.source.no_training) == (3, "")
    module = data(None, Scenes(size=4, held_out=3))
    module.setup("fit")
    assert len(module.train) == 4


def test_prediction_loads_with_as_many_workers_as_validation(tmp_path):
    module = data(tree(tmp_path), num_workers=2)
    module.setup("predict")
    assert module.predict_dataloader().num_workers == module.val_dataloader()[0].num_workers == 2


def test_what_was_trained_on_is_counted_whatever_stage_came_first(tmp_path):
    root = tree(tmp_path)
    write(root / "test.json", [{"image": "val2017/000000000009.jpg", "caption": ["a"]}])
    (root / "val2017/000000000009.jpg").write_bytes(b"")
    module = data(root, trained_on=["test.json"])
    module.benchmarks = {"test": CaptionRetrieval("test.json")}
    module.setup("validate")
    assert module.benchmarks["test"].overlap is None
    module.setup("test")
    assert module.benchmarks["test"].overlap == (1, 1, 1)
