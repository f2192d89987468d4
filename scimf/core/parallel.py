"""Devices, threads, random states, and many small jobs side by side."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from tqdm.auto import tqdm

MOST_WORKERS = 8  #: processes that are started where nobody says how many


def resolve_device(device: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's own random state for a while; the caller finds it as it was."""
    on_gpu = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.manual_seed(seed)
        yield


def side_by_side(
    function: Callable,
    jobs: Sequence[tuple],
    *,
    workers: int | None = None,
    device: str = "cpu",
    label: str = "",
    progress: bool = False,
) -> list[Any]:
    """Call ``function(*job)`` for every job in processes of one thread each; results in order.

    Small networks gain nothing from threads: two processes of one thread beat one of two. If
    ``workers`` is omitted there are as many as cores, at most 8, and one if ``device`` is a GPU;
    the environment variable ``LOKY_MAX_CPU_COUNT`` allows fewer. One is this process. ``label`` is
    the name of the progress bar, which is never shown with ``SCIMF_UNATTENDED``.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    if not workers:
        on_gpu = resolve_device(device).type == "cuda"
        workers = 1 if on_gpu else min(MOST_WORKERS, cpu_count())
    n = max(1, min(workers, len(jobs)))
    hidden = not progress or bool(os.environ.get("SCIMF_UNATTENDED"))
    calls = [delayed(function)(*job) for job in jobs]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with parallel_config("loky", inner_max_num_threads=1):
            results = Parallel(n_jobs=n, return_as="generator")(calls)
            return list(tqdm(results, total=len(jobs), disable=hidden, desc=label))
    finally:
        torch.set_num_threads(threads)
