"""Work that is spread over processes, a file at a time, and ends with the one who asked for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from lightning_cr.errors import DataError

__all__ = ["spread"]


def spread(
    jobs: Iterator[tuple[Path, Any]], work: Callable[..., None], given: tuple[Any, ...], workers: int, what: str
) -> Iterator[Path]:
    """Writes files; gives each path when its file is there.

    Args:
        jobs: The paths, each with what it is made from; only a few are asked for at a time.
        work: Writes a file: ``work(path, made_from, *given)``.
        given: What all jobs need; each process gets it once.
        workers: Processes; 0 works in this one.
        what: What the processes do, for the error.

    Raises:
        DataError: A process died.
    """
    if not workers:
        for path, made_from in jobs:
            work(path, made_from, *given)
            yield path
        return
    # Not forked: the process that asks may hold threads and a GPU.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (work, given))
    running: dict[Future[None], Path] = {}
    try:
        for path, made_from in jobs:
            running[pool.submit(_work, path, made_from)] = path
            if len(running) > workers:  # one waits, so that nobody idles; the others stay where they are
                yield from _finished(running)
        while running:
            yield from _finished(running)
    except BrokenProcessPool as error:
        raise DataError(
            f"{what} worker died (for want of memory, or because the script that asks runs again in it: guard its"
            f" start by __name__); what is done is kept: run again with fewer than {workers} workers, or with 0"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[None], Path]) -> Iterator[Path]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
        yield running.pop(future)


_given: tuple[Callable[..., None], tuple[Any, ...]]


def _begin(work: Callable[..., None], given: tuple[Any, ...]) -> None:
    global _given
    _given = work, given
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asked
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(path: Path, made_from: Any) -> None:
    work, given = _given
    work(path, made_from, *given)
