"""A table of several runs: mean after training, lowest and highest, and the mean before.

    python scripts/seeds_table.py ahnpl=runs/ahnpl-0/version_0,runs/ahnpl-1/version_0 clip=runs/clip-0/version_0

Each argument is a label and the folders of its runs, which hold results.json.
"""

import json
import sys
from pathlib import Path

CATEGORIES = (
    *("replace_obj", "replace_att", "replace_rel", "swap_obj", "swap_att", "add_obj", "add_att", "mean of 7"),
    *("hard_positive", "winoground/group", "held_out_pairs", "retrieval/i2t_r@1", "retrieval/t2i_r@1"),
)


def main(arguments: list[str]) -> None:
    groups = {}
    for argument in arguments:
        label, _, folders = argument.partition("=")
        groups[label] = [json.loads((Path(folder) / "results.json").read_text()) for folder in folders.split(",")]
    print("| accuracy in % | before |", " | ".join(groups), "|")
    print("|---|---|" + "---|" * len(groups))
    for category in CATEGORIES:
        first = next(iter(groups.values()))[0]
        cells = [f"{100 * first['before'][category]['accuracy']:.1f}"]
        for runs in groups.values():
            values = [100 * run["after"][category]["accuracy"] for run in runs]
            cells.append(f"{sum(values) / len(values):.1f} ({min(values):.1f} to {max(values):.1f})")
        print(f"| {category} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
