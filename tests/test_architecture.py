"""Imports run one way, siblings import only their base, and the cheap rooms stay cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lightning_cr"
LEVELS = [
    {"errors", "batch", "distributed", "files", "images", "language_models", "optimizer"},
    {"losses", "negatives", "encoders"},
    {"scenes"},
    {"benchmarks"},
    {"data"},
    {"task"},
    {"callbacks"},
    {"resume", "messages", "look", "fill", "interpolate", "compare", "order", "synthesize"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
# What a room's members may share beside its base.
FOUNDATIONS = {
    "losses": {"base", "candidates", "concreteness_margin", "pair_rows", "threshold"},
    "benchmarks": {
        *("annotations", "averages", "base", "blind", "choice", "decisions", "labelled", "likelihood", "logistic"),
        *("pairs", "pictures", "retrieval", "suite"),
    },
}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def imported(path):
    """Dotted names of this package's modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lightning_cr"):
            if node.module == "lightning_cr":
                yield from (f"lightning_cr.{alias.name}" for alias in node.names if alias.name != "__version__")
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("lightning_cr."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = parts[0]
    if room == "__init__":
        return
    for name in imported(path):
        other = name.split(".")[1]
        assert other == room or LEVEL[other] <= LEVEL[room], f"{path.name} imports {name}, which is built on top of it"
        if other != room and LEVEL[other] == LEVEL[room] and LEVEL[room] == 1:
            # Side by side: only through the other's door, and never in a circle.
            pytest.fail(f"{path.name} of {room} imports {name} beside it")


@pytest.mark.parametrize("room", FOUNDATIONS)
def test_siblings_import_only_their_foundations(room):
    for path in (PACKAGE / room).glob("*.py"):
        if path.stem in ("__init__", *FOUNDATIONS[room]):
            continue
        for name in imported(path):
            if name.startswith(f"lightning_cr.{room}."):
                assert name.split(".")[2] in FOUNDATIONS[room], f"{path.name} imports its sibling {name}"


def test_text_negatives_never_import_torch():
    for path in (PACKAGE / "negatives" / "text").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        modules += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
        assert not any(module.split(".")[0] == "torch" for module in modules), path


def test_files_stay_short():
    long = {str(path.relative_to(PACKAGE)): n for path in FILES if (n := len(path.read_text().splitlines())) > 400}
    assert not long


def test_the_command_line_imports_nothing_heavy():
    heavy = ("open_clip", "timm", "diffusers", "nltk", "textblob", "transformers", "matplotlib", "rich")
    code = f"import sys, lightning.pytorch.cli; before = set(sys.modules); import lightning_cr.cli; print([m for m in {heavy} if m in set(sys.modules) - before])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
