"""Peak memory of a call, measured in a process of its own.

``python -m workflow.benchmarks.peak module:function '{"argument": 1}'`` prints what the function
returns and its peak as JSON; :func:`peak` starts that process.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from workflow.settings import reports_folder, search_path

KIB_PER_GIB = 2**20


def peak(function: Callable[..., dict[str, float]], **arguments: Any) -> dict[str, float]:
    """Call a function of a module in a new process.

    Returns
    -------
    dict
        What the function returns, and ``peak_gib``: the most memory above what was held before.

    Raises
    ------
    RuntimeError
        If the call fails; with the end of what it wrote.
    """
    call = f"{function.__module__}:{function.__name__}"
    made = subprocess.run(
        [sys.executable, "-m", "workflow.benchmarks.peak", call, json.dumps(arguments)],
        env=os.environ | {"PYTHONPATH": search_path(reports_folder())},
        capture_output=True,
        text=True,
    )
    if made.returncode:
        raise RuntimeError(f"{call}({arguments}) failed:\n{made.stderr[-2000:]}")
    return json.loads(made.stdout.splitlines()[-1])


def main(arguments: Sequence[str]) -> None:
    """Call ``module:function`` with JSON as keywords; print its result and its peak."""
    call, given = arguments
    module, name = call.split(":")
    function = getattr(import_module(module), name)
    before = _memory_now()
    found = function(**json.loads(given))
    found["peak_gib"] = (_memory_peak() - before) / KIB_PER_GIB
    sys.stdout.write(json.dumps(found) + "\n")


def _memory_now() -> float:
    """KiB that this process holds; from here on its peak is counted anew."""
    try:  # imports may have held more than they left
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:  # not Linux
        return _memory_at_most()


def _memory_peak() -> float:
    """Most KiB that this process held since :func:`_memory_now`."""
    try:
        return _status("VmHWM")
    except OSError:
        return _memory_at_most()


def _status(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return float(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def _memory_at_most() -> float:
    """Most KiB that this process ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform == "darwin" else most


if __name__ == "__main__":
    main(sys.argv[1:])
