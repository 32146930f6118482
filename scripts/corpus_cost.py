"""What learning from a corpus costs at the size of COCO: seconds, and the memory of the main process and the workers.

    python scripts/corpus_cost.py coco_karpathy_test.json --captions 600000

The captions of the file are multiplied by false ones, made from them by a replacement each, so that pairs and
triples of words grow about as they do with more captions. Annotating so many takes minutes the first time; ``--cache``
keeps it. Memory is read from ``/proc/PID/smaps_rollup`` (Linux): *private* is what a process has for itself, *share*
counts what several processes have in common in equal parts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
import warnings
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from lightning_cr.negatives.text import (
    ReplaceAttribute,
    ReplaceObject,
    ReplaceRelation,
    SwapAttributes,
    SwapObjects,
    TextNegatives,
)
from lightning_cr.negatives.text.annotation import AnnotatedCorpus
from lightning_cr.negatives.text.tagging import Tagger

RULES = {
    "swap_obj": SwapObjects,
    "swap_att": SwapAttributes,
    "replace_att": ReplaceAttribute,
    "replace_obj": ReplaceObject,
    "replace_rel": ReplaceRelation,
}
PER_BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--captions", type=int, default=600_000)
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=list(RULES))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--drawn", type=int, default=40_000, help="captions whose negatives are drawn by the workers")
    parser.add_argument("--cache", type=Path, default=Path("corpus_cost"), help="folder of annotations")
    given = parser.parse_args()

    rows = json.loads(given.file.read_text(encoding="utf-8"))
    texts = multiplied([text.strip() for row in rows for text in row["caption"]], given.captions)
    start = time.perf_counter()
    corpus = door(given).annotate(texts, os.cpu_count() or 1)
    print(f"{len(corpus):,} captions, {len(set(texts)):,} of them different: annotated in {since(start)}")
    del texts
    plain = door(given)
    spread("not learned", plain, corpus, given)
    for path in (*given.cache.glob("*.learned"), *given.cache.glob("*.compiled")):
        path.unlink()
    for turn in ("first", "second"):
        negatives = door(given)
        before, start = memory(os.getpid()), time.perf_counter()
        negatives.learn(corpus)
        print(f"{turn} start: learned in {since(start)}, main process {grown(before)}")
        if turn == "second":
            spread("learned", negatives, corpus, given)
        before, start = memory(os.getpid()), time.perf_counter()
        negatives.compile(os.cpu_count() or 1)
        size = sum(path.stat().st_size for path in given.cache.glob("*.compiled")) / len(corpus)
        print(f"{turn} start: compiled in {since(start)}, {size:,.0f} bytes a caption, main process {grown(before)}")
        if turn == "second":
            spread("compiled", negatives, corpus, given)
        del negatives


def door(given: argparse.Namespace) -> TextNegatives:
    return TextNegatives(rules={name: RULES[name]() for name in given.rules}, cache=str(given.cache))


def multiplied(texts: list[str], count: int) -> list[str]:
    """The captions, and as many false ones made from them as it takes."""
    rules = [ReplaceObject(), ReplaceAttribute(), ReplaceRelation()]
    captions = list(map(Tagger(remember=1), texts)) if count > len(texts) else []
    found = texts[:count]
    for at in range(count - len(found)):
        rng = random.Random(at)
        caption = captions[at % len(captions)]
        made = (rule(caption, "", rng) for rule in rng.sample(rules, len(rules)))
        found.append(next((negative.text for negative in made if negative is not None), caption.text))
    return found


class Drawn(Dataset[int]):
    """The negatives of a caption, made where a DataLoader makes them."""

    def __init__(self, negatives: TextNegatives, corpus: AnnotatedCorpus) -> None:
        self.negatives = negatives
        self.corpus = corpus

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> int:
        return sum(made is not None for made in self.negatives(self.corpus[index], random.Random(index)))


def spread(name: str, negatives: TextNegatives, corpus: AnnotatedCorpus, given: argparse.Namespace) -> None:
    """Draws with workers, and prints their memory."""
    warnings.filterwarnings("ignore", ".*create .* worker processes")  # fewer cores than workers: memory is asked for
    order = torch.randperm(len(corpus), generator=torch.Generator().manual_seed(0))[: given.drawn].tolist()
    loader = DataLoader(Drawn(negatives, corpus), PER_BATCH, sampler=order, num_workers=given.workers)
    batches = iter(loader)
    made, start = 0, time.perf_counter()
    for _ in range(len(order) // PER_BATCH):
        made += int(next(batches).sum())
    seconds = time.perf_counter() - start
    found = [memory(worker.pid) for worker in batches._workers]  # type: ignore[attr-defined]
    private, share = (sum(one[key] for one in found) / len(found) for key in ("private", "share"))
    rate = made / seconds
    print(f"{name}: {given.workers} workers, each {private:,.0f} MB private, {share:,.0f} MB share; {rate:,.0f} made/s")


def memory(process: int) -> dict[str, float]:
    """Megabytes of a process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return {"private": sizes["Private_Clean"] + sizes["Private_Dirty"], "share": sizes["Pss"], "all": sizes["Rss"]}


def grown(before: dict[str, float]) -> str:
    now = memory(os.getpid())
    return f"+{now['all'] - before['all']:,.0f} MB to {now['all']:,.0f} MB"


def since(start: float) -> str:
    return f"{time.perf_counter() - start:,.1f} s"


if __name__ == "__main__":
    main()
