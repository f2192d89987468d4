"""What things cost, as ratios measured side by side: ``make bench``.

Writes ``results/published/bench.json``. A training step as published and ours; a drift beside the
machine's own matrix products; growth with cells, times and dimensions; counts, trained and
generated. How it is measured: ``workflow.benchmarks.timing``.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import torch

from scimf.notebook import say
from workflow.benchmarks.counts import count_costs
from workflow.benchmarks.record import about, record
from workflow.benchmarks.scaling import approximation, drift_costs, growth, growth_of_steps
from workflow.benchmarks.timing import busy_while
from workflow.benchmarks.training_steps import step_costs

#: As many cells and times as the published sets: 38,731 in growing snapshots, for how they are
#: spread over the times of zebrafish is not published, and 31,240.
ZEBRAFISH = (500, 653, 854, 1115, 1457, 1904, 2487, 3250, 4246, 5548, 7248, 9469)
CITE = (7810,) * 4


def measure(device: str, *, rounds: int = 3) -> dict:
    """Everything, as it goes into the record."""
    found = {}
    for name, sizes in (("step", ZEBRAFISH), ("step_cite", CITE)):
        say(f"{name} ...")
        found[name] = step_costs(sizes, rounds=rounds, device=device)
    say("drift ...")
    found["drift"] = drift_costs(rounds=3 * rounds, device=device)
    say("scale ...")
    found["scale"] = growth((256, 1024, 4096, 16384, 32768, 131072), many=10**6)
    found["scale_of_steps"] = growth_of_steps()
    found["approximation"] = approximation()
    say("counts ...")
    found["counts"] = count_costs(rounds=rounds, device=device)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the record; refuse where the machine is busy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--publish", action="store_true", help="into results/published, too")
    given = parser.parse_args(arguments)
    named = about(given.device, measure)
    found, busy = busy_while(partial(measure, given.device, rounds=given.rounds))
    return record(named | found | {"others_busy_cores": busy}, busy, publish=given.publish)


if __name__ == "__main__":
    sys.exit(main())
