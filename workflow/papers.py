"""Write ``docs/PAPERS.md``: both papers item by item, and which file each waiting row waits for.

``python -m workflow.papers`` writes it, ``--check`` fails where it is out of step with
``notebooks/reports/evidence/papers.toml``, the registry or the published records. It depends on
these alone, never on what is in the data cache.
"""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd
from evidence import paper_boards, papers

from scimf.core import paths
from scimf.core.files import write_file
from scimf.data import registry
from scimf.notebook import say
from workflow.settings import is_chapter

PAGE = paths.ROOT / "docs" / "PAPERS.md"
PUBLISHED_STEPS = 3000
TITLES = {
    "scIMF": "scIMF, Jiang et al., PLOS Computational Biology 22:e1013916, 2026",
    "scLDM": "scLDM, Palla et al., arXiv:2511.02986v2, ICML 2026",
}
HEAD = """\
# The papers, item by item

Every figure, every table and every main claim of the two papers whose methods are here, with what
is printed there, what we have, and what that makes of it. This page is generated (`make papers`)
from `notebooks/reports/evidence/papers.toml` and from the records in `results/published`; no status
and none of our numbers is written by hand, and a test keeps it in step.

**Read first.** Only the abstracts and the overview figure of scIMF could be read, so its other
figures and its tables are named by what they show, and none of its own scores stands here; a
benchmark by others (scTimeBench) has printed scores of it. Of scLDM, most numbers are second-hand.
None of the papers' own data sets was at hand: those rows wait for files that need a login or a
visit to a page. [Below](#which-file-to-fetch) stands which, where to put it, and what to expect.

A comparison comes out as stated, or the other way round, where the two 95 % intervals do not
overlap; otherwise, and with fewer than three training seeds, it is level. A printed number is met
if it is ours to its last decimal, within its printed spread, or within a tenth of it where no
spread is printed.

| status | when |
| --- | --- |
| reproduced | more comparisons are as stated than level, none the other way round |
| reproduced on other data | the same, on other real cells or on simulated ones |
| not shown | most are level, or they are divided |
| contradicted | more comparisons are the other way round than level, none as stated |
| waits | for a file that was not there in the published run, or for that run |
| cannot be | nothing could be compared: the reason is given |
"""
FETCH = """\
## Which file to fetch

Put the files below the data cache: the folder `data/` of a checkout, or the one that `SCIMF_DATA`
names. Then one command runs everything that is there, and leaves out the rest:

```bash
make figures PROFILE=paper NOTEBOOKS=papers    # PROFILE=teach: small fits, for a first look
make publish PROFILE=paper                     # then the numbers stand on this page
```

A run that reaches the profile's limit of three hours goes on where it was when it is asked for
again: fits are cached. Until the files are there, continuous integration runs every board on small
generated files of the same layout (`notebooks/reports/evidence/look_alikes.py`).

*Minutes* are of the published configuration, {steps} steps and one training seed (`paper` has
three), over all boards of a set on two cores, by the recorded step of
`results/published/bench.json`; a step of our own there is {cheaper:.0f} times cheaper. For counts
they are of one of our set autoencoders; the published one is for a card. *Memory* is an estimate,
not a measurement: the matrix with a tenth of its entries, twice while it is read, and a dense copy
of the training cells on 2,000 genes. Numbers in brackets are guesses.
"""


def page() -> str:
    """Return the page as text."""
    table = papers.item_table()
    parts = [HEAD, _counts(table)]
    for paper, title in TITLES.items():
        parts.append(f"## {title}\n\n{_rows(table[table['paper'] == paper])}")
    cheaper = paper_boards.recorded_speedup()
    parts.append(FETCH.format(steps=f"{PUBLISHED_STEPS:,}", cheaper=cheaper))
    parts.append(_costs())
    for name in paper_boards.TIME_COURSES | paper_boards.COUNTS:
        parts.append(_files(name))
    return "\n".join(parts)


def _counts(table: pd.DataFrame) -> str:
    count = papers.status_counts(table)
    lines = [f"| status | {' | '.join(count)} |", f"|{' --- |' * (1 + count.shape[1])}"]
    for status, row in count.iterrows():
        lines.append(f"| {status} | {' | '.join(map(str, row))} |")
    return "\n".join(lines) + "\n"


def link(notebook: str) -> str:
    """Link from the page to a notebook with its outputs."""
    folder = "notebooks" if is_chapter(notebook) else "notebooks/reports"
    return f"[{notebook}](../{folder}/{notebook}.ipynb)"


def _rows(table: pd.DataFrame) -> str:
    lines = ["| item | what it shows | printed there | ours | on | in | status |"]
    lines.append(f"|{' --- |' * 7}")
    for row in table.itertuples():
        status = f"**{row.status}**" + (f" {row.why}" if row.why else "")
        cells = [row.item, row.shows, row.printed, row.ours, row.on, link(row.notebook), status]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _costs() -> str:
    lines = ["| set | cells | genes | boards | minutes | memory, GiB |", f"|{' --- |' * 6}"]
    for kind in (paper_boards.TIME_COURSES, paper_boards.COUNTS):
        for name, about in kind.items():
            sizes = {}
            for key in ("cells", "genes"):
                shown = f"{about[key]:,}"
                sizes[key] = f"({shown})" if key in about["guessed"] else shown
            boards = 1 if kind is paper_boards.COUNTS else len(paper_boards.boards_of(name))
            costs = paper_boards.expected_costs(name, PUBLISHED_STEPS)
            numbers = f"{boards} | {costs['minutes']:,.0f} | {costs['gib']:.0f}"
            lines.append(
                f"| [`{name}`](#{name}) | {sizes['cells']} | {sizes['genes']} | {numbers} |"
            )
    return "\n".join(lines) + "\n"


def _files(name: str) -> str:
    """Return what the registry says of a set to be had by hand."""
    entry = registry.entries()[name]
    lines = [
        f"### {name}",
        "",
        f"{entry['title']}. {entry['citation']}. Terms: {entry['licence']}.",
    ]
    lines += ["", *entry["manual"].strip().splitlines(), ""]
    lines += ["| save as, below the cache | from |", "| --- | --- |"]
    lines += [f"| `{row['file']}` | <{row['url']}> |" for row in entry["files"]]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail where the page is out of step")
    given = parser.parse_args(arguments)
    text = page()
    if given.check:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        say("docs/PAPERS.md is in step" if same else "docs/PAPERS.md is out of step: make papers")
        return 0 if same else 1
    write_file(PAGE, text)
    say("docs/PAPERS.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
