"""docs/adding.md, followed to the letter in a copy: a new loss is three files, and reachable by its name and flags."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/adding.md").read_text(), flags=re.S)


def files(root):
    return {
        path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.suffix in (".py", ".yaml", ".md")
    }


@pytest.mark.slow
def test_a_new_loss_is_a_file_a_line_and_a_test(tmp_path):
    copy = tmp_path / "copy"
    for folder in ("lightning_cr", "tests", "configs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    before = files(copy)

    source, test = BLOCKS
    (copy / "lightning_cr/losses/ceiling.py").write_text(source)
    (copy / "tests/losses/test_ceiling.py").write_text(test)
    door = copy / "lightning_cr/losses/__init__.py"
    line = "from lightning_cr.losses.ceiling import CeilingLoss\n"
    text = door.read_text().replace(
        "from lightning_cr.losses.contrastive", f"{line}from lightning_cr.losses.contrastive"
    )
    door.write_text(text.replace("__all__ = [\n", '__all__ = [\n    "CeilingLoss",\n'))

    after = files(copy)
    touched = sorted(str(path) for path in after if after[path] != before.get(path))
    assert touched == [
        "lightning_cr/losses/__init__.py",
        "lightning_cr/losses/ceiling.py",
        "tests/losses/test_ceiling.py",
    ]

    (tmp_path / "over.yaml").write_text(
        "model: {losses: {ceiling: {class_path: CeilingLoss, init_args: {ceiling: 0.1}}}}"
    )
    recipe = ("--config", "configs/negclip.yaml", "--config", "tests/tiny.yaml", "--config", tmp_path / "over.yaml")
    runs = (
        ("pytest", "-q", "-p", "no:cacheprovider", "tests/losses/test_ceiling.py", "tests/test_architecture.py"),
        (
            "lightning_cr",
            "fit",
            *recipe,
            "--model.losses.ceiling.ceiling",
            0.15,
            "--trainer.default_root_dir",
            tmp_path,
        ),
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    for run in runs:
        command = [sys.executable, "-m", *map(str, run)]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "train/ceiling/similarity" in (tmp_path / "negclip/version_0/metrics.csv").read_text()
