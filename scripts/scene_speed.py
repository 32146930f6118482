"""How many scenes a second one core makes, with captions and with the five text negatives of configs/ahnpl.yaml.

python scripts/scene_speed.py
"""

import time
from pathlib import Path

import torch

from lightning_cr.cli import build
from lightning_cr.data.base import sample_rng
from lightning_cr.scenes import World, caption, draw_wording, render, to_tensor

CONFIG = Path(__file__).parents[1] / "configs" / "ahnpl.yaml"


def main(scenes: int = 5000) -> None:
    torch.set_num_threads(1)
    world, negatives, size = World(), build([CONFIG]).datamodule.negatives, 64
    negatives.lexicon = "scenes"
    seconds = dict.fromkeys(("graph", "picture", "caption", "negatives"), 0.0)
    for index in range(-200, scenes):  # the first fill the caches of masks
        rng = sample_rng(0, 0, index)
        times = [time.perf_counter()]
        scene = world.draw(rng)
        times.append(time.perf_counter())
        to_tensor(render(scene, size))
        times.append(time.perf_counter())
        written = caption(scene, draw_wording(scene, rng))
        times.append(time.perf_counter())
        negatives(written, rng)
        times.append(time.perf_counter())
        if index >= 0:
            for part, start, end in zip(seconds, times, times[1:], strict=False):
                seconds[part] += end - start
    without = sum(seconds.values()) - seconds["negatives"]
    print(f"{scenes / without:,.0f} scenes of {size} px with captions a second on one core", end="; ")
    print(f"{scenes / sum(seconds.values()):,.0f} with {len(negatives.kinds)} negatives each")
    print("; ".join(f"{part} {100 * spent / sum(seconds.values()):.0f}%" for part, spent in seconds.items()))


if __name__ == "__main__":
    main()
