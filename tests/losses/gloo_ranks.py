"""A gloo group on this machine, for tests that compare several ranks with one process."""

from __future__ import annotations

import datetime
import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist


class Ranks:
    """Processes of one gloo group that stay alive between jobs."""

    def __init__(self, world: int, rendezvous: Path) -> None:
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(world)]
        self._ends = [pair[0] for pair in pairs]
        self._processes = []
        for rank, (_, end) in enumerate(pairs):
            process = context.Process(target=_serve, args=(rank, world, str(rendezvous), end), daemon=True)
            process.start()
            end.close()
            self._processes.append(process)

    def run(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Results, in rank order, of ``function(*arguments, rank, world)``."""
        for end in self._ends:
            # Plain pickle: the one of multiprocessing would send tensors as shared file handles.
            end.send_bytes(pickle.dumps((function, arguments)))
        answers = []
        for rank, end in enumerate(self._ends):
            if not end.poll(90):
                raise TimeoutError(f"rank {rank} gave no answer in 90 s")
            answers.append(pickle.loads(end.recv_bytes()))
        failed = [answer for ok, answer in answers if not ok]
        if failed:
            raise RuntimeError(failed[0])
        return [answer for _, answer in answers]

    def close(self) -> None:
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


def _serve(rank: int, world: int, rendezvous: str, end: Any) -> None:
    torch.set_num_threads(1)
    minute = datetime.timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world, timeout=minute)
    while True:
        try:
            function, arguments = pickle.loads(end.recv_bytes())
        except EOFError:
            break
        try:
            answer = (True, function(*arguments, rank, world))
        except Exception:
            answer = (False, traceback.format_exc())
        end.send_bytes(pickle.dumps(answer))
    dist.destroy_process_group()
