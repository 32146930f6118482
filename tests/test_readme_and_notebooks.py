"""What the README says can be typed, and every notebook runs."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
COMMANDS = [
    line.split("&&")[-1].strip()
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if "lightning_cr" in line
]
OURS = [command for command in COMMANDS if command.startswith("python -m lightning_cr")]
LOOKS = [command for command in OURS if " negatives " in command or " order " in command]
FILLS = [command for command in OURS if " fill " in command]
RUNS = [command for command in OURS if command not in (*LOOKS, *FILLS)]


def test_the_readme_has_the_two_commands():
    assert "pip install -e . && python -m lightning_cr fit --config configs/ahnpl.yaml" in README
    assert "pip install -e '.[dev]' && pytest" in README
    assert len(RUNS) >= 4


@pytest.mark.parametrize("command", RUNS)
def test_every_command_of_the_readme_is_understood(cli, capsys, command):
    words = shlex.split(command)[3:]
    if words[0] == "compare":  # of two runs that are not here
        assert cli(*words) == 1
        assert "cannot read runs/benchmarks/version_0/test_results.json" in capsys.readouterr().err
        return
    words = [str(ROOT / word) if word.startswith("configs/") else word for word in words]
    for position in [p for p, word in enumerate(words) if word.startswith("runs/")][::-1]:
        del words[position - 1 : position + 1]  # there is no run to go on with here
    assert cli(*words, "--print_config") == 0, capsys.readouterr().err
    assert yaml.safe_load(capsys.readouterr().out)["model"]


@pytest.mark.parametrize("command", LOOKS)
def test_every_command_on_captions_runs(cli, capsys, tmp_path, command):
    captions = ["A black dog on top of a red couch.", "Two men riding brown horses in a field."]
    (tmp_path / "captions.txt").write_text("\n".join(captions))
    for name in ("dataset_coco.json", "coco_karpathy_test.json"):
        (tmp_path / name).write_text(json.dumps([{"image": "1.jpg", "caption": captions}]))
    assert cli(*shlex.split(command)[3:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", FILLS)
def test_every_filling_is_understood(cli, capsys, tmp_path, command):
    (tmp_path / "captions.txt").write_text("A dog.")
    assert cli(*shlex.split(command)[3:], "--model", "nobody/nothing-of-that-name") == 1
    assert "from_pretrained" in capsys.readouterr().err  # all but the model is there


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)\)", README))))
def test_every_file_that_the_readme_links_exists(name):
    assert (ROOT / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, tmp_path):
    command = [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "-q", str(notebook)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "-o", "addopts="], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
