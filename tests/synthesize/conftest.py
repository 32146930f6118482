"""Pipelines that are built once, and the command on a small COCO tree."""

import inspect

import pytest

PIPELINES = {
    "text_to_image": "StableDiffusionPipeline",
    "image_to_image": "StableDiffusionImg2ImgPipeline",
    "instruct": "StableDiffusionInstructPix2PixPipeline",
    "inpaint": "StableDiffusionInpaintPipeline",
}
RULES = "{replace_obj: ReplaceObject, replace_att: ReplaceAttribute, swap_obj: SwapObjects}"


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory):
    """Mode to the folder of a tiny pipeline for it."""
    pytest.importorskip("diffusers", reason="needs the extra image")
    pytest.importorskip("transformers", reason="needs the extra image")
    from tiny_pipelines import save

    return {mode: save(tmp_path_factory.mktemp(mode), name) for mode, name in PIPELINES.items()}


@pytest.fixture
def arguments(pipelines, tree):
    """The command line of a run on twelve pictures, but for the store."""

    def build(mode="text_to_image", configs=()):
        return (
            "synthesize",
            *(part for config in configs for part in ("--config", config)),
            *("--model.pipeline", pipelines[mode], "--model.size", 32, "--model.steps", 2, "--model.sheet", 0),
            *("--data.root", tree, *(() if configs else ("--data.negatives.rules", RULES))),
            *("--data.shard", 8, "--data.batch_size", 4, "--trainer.accelerator", "cpu"),
        )

    return build


@pytest.fixture
def synthesize(cli, arguments, capsys):
    """Runs the command in ``store`` and gives the store; what it said is in ``synthesize.said``."""
    from lightning_cr.negatives.image.store import PictureStore

    def run(*more, mode="text_to_image", store="store", configs=()):
        code = cli(*arguments(mode, configs), "--data.store", store, *more)
        out, err = capsys.readouterr()
        run.said = out
        assert code == 0, err
        return PictureStore(store)

    return run


@pytest.fixture
def calls(pipelines, monkeypatch):
    """What the pipelines are called with."""
    import diffusers

    seen = []
    for name in PIPELINES.values():
        kind = getattr(diffusers, name)

        def spied(self, *, _real=kind.__call__, **given):
            seen.append(given)
            return _real(self, **given)

        spied.__signature__ = inspect.signature(kind.__call__)
        monkeypatch.setattr(kind, "__call__", spied)
    return seen
