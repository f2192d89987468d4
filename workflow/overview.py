"""What was run so far: seconds, claims, what was skipped; and which data there are."""

from collections import Counter
from typing import Any

from scimf.core import paths
from scimf.data import registry
from scimf.notebook import say
from workflow.runs import Refused, published_record, run_files, run_record, short
from workflow.settings import notebook_names

PROFILES = ("smoke", "teach", "paper")


def data() -> None:
    """Fetch every registered data set, or check what is there; name those to get by hand."""
    missing = []
    for name in registry.entries():
        try:
            say(f"{name}: {len(registry.fetch(name))} files")
        except registry.DataUnavailable as reason:
            if "manual" in registry.entries()[name]:
                say(f"{name}: not in the cache, by hand (scimf.load({name!r}) says how)")
            else:
                missing.append(str(reason))
    if missing:
        raise Refused("\n".join(missing))


def times() -> None:
    """Show seconds per notebook and profile: of your own runs, else as published."""
    say(f"| notebook | {' | '.join(PROFILES)} |")
    say(f"|{' --- |' * (len(PROFILES) + 1)}")
    for name in notebook_names():
        cells = [_seconds(name, profile) for profile in PROFILES]
        say(f"| {name} | {' | '.join(cells)} |")


def _seconds(name: str, profile: str) -> str:
    record = run_record(name, profile) or published_record(name, profile)
    return f"{record['seconds']:.0f} s" if record.get("status") == "complete" else ""


def summary(profile: str) -> None:
    """Show what a profile's run came to: seconds, claims, what was skipped and why."""
    n_figures = 0
    say(f"profile {profile}")
    for name in notebook_names():
        record = run_record(name, profile)
        if record.get("status") == "complete" and run_files(name, profile).executed.is_file():
            n_figures += len(record["figures"])
            _summarise(name, record)
        else:
            say(f"  {name:<20}      -    no complete run")
        failed = run_files(name, profile).failed
        if failed.is_file():
            say(f"    the last run failed: {short(failed)}")
    figures = short(paths.FIGURES / profile)
    say(f"{n_figures} figures in {figures}, numbers in {short(paths.RESULTS / profile)}")


def _summarise(name: str, record: dict[str, Any]) -> None:
    claims = record["claims"]
    count = Counter(claim["status"] for claim in claims.values())
    found = [f"{count[s]} {s}" for s in ("kept", "skipped", "failed") if count[s]]
    say(f"  {name:<20} {record['seconds']:>6.0f} s  claims: {', '.join(found) or 'none'}")
    for text, claim in claims.items():
        if claim["status"] != "kept":
            reason = f" ({claim['reason']})" if "reason" in claim else ""
            say(f"    {claim['status']}: {text}{reason}")
    for data_set, reason in record["skipped"].items():
        say(f"    without {data_set}: {reason}")
