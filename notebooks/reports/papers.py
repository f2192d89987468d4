# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The papers, item by item
#
# **What is asked.** Two papers are implemented here, scIMF and scLDM. Which of their figures,
# tables and claims come out, which do not, and which cannot be asked without files that are not
# here?
#
# **What was found.**
#
# - *Sizes.* Both networks have exactly as many numbers as the published ones: 119,748, 3,403,372
#   and 9.74 million.
# - *scIMF.* On simulated cells that are known to interact, modelling the interaction helps, the
#   whole drift is closer, and who moves whom can be ranked. On real cells the interaction helps on
#   some boards and is level on the others; the published configuration is closer than other methods
#   in half of the comparisons, not in most.
# - *scLDM.* Counts beside a Gaussian, the flow beside a plain prior, generation beside the CFGen
#   family and reconstruction beside scVI come out on other real cells. That joint guidance beats
#   additive guidance or untreated cells is not shown on simulations, and a mean shift is closer
#   than it.
# - *The papers' own numbers wait.* None of their nine data sets is public without a login or a
#   visit to a page. Every board below is ready: it runs the day its files are in the cache.
#
# **How it is decided.** No status is written by hand. A row of `evidence/papers.toml` names records
# and a rule reads them; `docs/PAPERS.md` is the same table with links, and says which file to
# fetch.
#
# **You need** chapters 4 and 8, which explain floors and baselines.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | every board runs, on generated files: numbers without a meaning |
# | `teach` | 2 CPU cores | the table of items; boards wait, or run with short fits |
# | `paper` | any | with the files: all splits, the published configuration at full length |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
sets: list = ["scIMF", "scLDM"]  # whose data sets
look_alikes: bool = False  # generated files in the place of the real ones: it runs, no more
training: list = [2, 100, 1, 100]  # seeds and steps: of ours, and of the published configuration
published_sizes: list = [128, 512]  # cells of a step, and cells it is compared with (0: all)
n_pcs: int = 50  # principal components, of 2,000 genes
scored: list = [1000, 2, 400]  # cells on either side of a score, draws, and cells for W1 and W2
drawn: list = ["zebrafish.remove_recovery", "reprogramming.remove_recovery"]  # in figure b
count_sizes: list = [200, 2000, 1000, 2]  # genes, training cells, test cells, treatments held out
count_steps: list = [500, 0, 500]  # of our autoencoders, the published one (0: none), the flows
published_coder: dict = {}  # changes of the published autoencoder: none, or a smaller one
flow_size: list = [64, 2]  # width and blocks of a flow
count_seeds: int = 1  # training seeds of models of counts

# %%
import matplotlib.pyplot as plt
import pandas as pd

from evidence import paper_boards, paper_counts, papers
from evidence.look_alikes import look_alike_cache
from evidence.predictions import Training
from evidence.scores import Sizes
from evidence.summaries import summary
from scimf import interval, plots, start_notebook
from scimf.dynamics.config import SDEConfig

# %%
run = start_notebook("papers", globals())
options = {"cache": run.fits, "device": run.device}
cache = look_alike_cache(run.build / "look_alikes" if look_alikes else None)
prefix = "look_alike." if look_alikes else ""  # such a number must never be taken for a real one
run

# %% [markdown]
# ## Item by item
#
# *As stated* and *the other way round* are comparisons whose 95 % intervals do not overlap; the
# others, and all that rest on fewer than three training seeds, are *level*. A row is reproduced, or
# contradicted, where one side outnumbers the level ones and the other side is empty.

# %%
items = papers.item_table()
count = papers.status_counts(items)
count

# %%
for paper, part in items.groupby("paper"):
    for row in part.itertuples():
        print(f"{paper} · {row.item}: {row.status.upper()} {row.why}".rstrip())
        print(f"    {row.shows}")
        print(f"    {row.on}; report or chapter {row.notebook}")
        for name, text in (("printed", row.printed), ("ours", row.ours)):
            if text:
                print(f"    {name}: {text}")

# %%
colours = ["#1b7837", "#7fbf7b", "0.75", "#b2182b", "0.9", "0.5"]
fig, ax = plt.subplots(figsize=(7, 1.5))
left = count.iloc[0] * 0
for colour, (status, numbers) in zip(colours, count.iterrows(), strict=True):
    ax.barh(count.columns, numbers, left=left, color=colour, label=status)
    left = left + numbers
ax.set(xlabel="figures, tables and claims", title="What waits is ready to run")
ax.invert_yaxis()
ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.45))
run.save_figure(fig, "fig_papers_a_items", data=count.T)

# %% [markdown]
# **Figure a.** Rows of the table by status. *Waits* is for files, or for the published run of this
# report.
#
# ## The same networks
#
# A reimplementation from equations can be checked by counting: every bias and every table of
# embeddings has to be there.

# %%
sizes = paper_counts.published_sizes()
run.record({f"parameters.{name}": value for name, value in sizes.items()})
assert sizes["dentate_gyrus"] == 3_403_372
assert round(sizes["denoiser_millions"], 2) == 9.74
sizes

# %% [markdown]
# ## What is at hand

# %%
time_courses = list(paper_boards.TIME_COURSES) if "scIMF" in sets else []
count_sets = list(paper_boards.COUNTS) if "scLDM" in sets else []
with cache:
    data = {}
    waits = {}
    for name in [*time_courses, *count_sets]:
        waits[name] = paper_boards.waits_for(name)
        if not waits[name]:
            data |= run.load([name])
costs = pd.DataFrame({name: paper_boards.expected_costs(name) for name in waits}).T.round(1)
costs.insert(0, "files", [text or "in the cache" for text in waits.values()])
costs

# %% [markdown]
# `minutes`: of the published configuration at 3,000 steps over all splits of a set (one training
# seed, two cores), or of one set autoencoder; `gib`: memory. Both are estimates; `docs/PAPERS.md`
# says where to fetch the files and where to put them.
#
# ## Held-out times: every named split
#
# The splits of the scIMF paper, in the data's own unit (`scimf/data/splits.toml`; `all_times` holds
# out nothing and is no board), and those of scTimeBench. Genes, scaler and components are fitted on
# training times only. *published* is the configuration of the paper, *scimf* ours with settings
# that were fixed on other data: nothing is chosen on these sets. Floors and baselines stand beside
# them.

# %%
n_seeds, n_steps, published_seeds, published_steps = training
seeds = {"seeds": tuple(range(n_seeds)), "peer_seeds": tuple(range(published_seeds))}
ours = Training(methods=paper_boards.OURS, steps=n_steps, **seeds)
n_scored, draws, transport_n = scored
scoring = Sizes(n=n_scored, draws=draws, transport_n=transport_n)
batch, targets = published_sizes
published = SDEConfig.paper(steps=published_steps, batch_cells=batch, target_cells=targets or None)

# %%
scores = {}
for name in time_courses:
    if name not in data:
        print(f"{name}: {waits[name]}")
        continue
    for board in paper_boards.boards_of(name, n=n_scored, n_pcs=n_pcs):
        problem = (board, data[name], ours, scoring, published)
        scores[board.name] = paper_boards.score_time_course(*problem, **options)

# %%
table = pd.DataFrame(columns=["board", "method", "metric", "mean", "lo", "hi", "n_seeds"])
if scores:
    table = summary(pd.concat(scores.values()))
for row in table.itertuples():
    values = {"mean": row.mean, "lo": row.lo, "hi": row.hi, "n_seeds": row.n_seeds}
    run.record({f"{prefix}{row.board}.{row.method}.{row.metric}": values})

# %%
for name, part in table.groupby("board", sort=False):
    wide = part.pivot_table(index="method", columns="metric", values="mean")
    wide = wide.rename(index=plots.METHOD_LABELS).sort_values("energy_distance")
    print(f"\n{name}\n{wide.round(4).to_string(na_rep='')}")

# %%
boards = {}
for name in data.keys() & set(time_courses):
    for board in paper_boards.boards_of(name, n=n_scored, n_pcs=n_pcs):
        boards[board.name] = board
for name in boards.keys() & set(drawn):
    board = boards[name]
    clouds = paper_boards.published_cells(board, data[board.dataset], published, **options)
    fig, panels = plt.subplots(1, 2, figsize=(7, 2.8), sharex=True, sharey=True)
    for ax, cells, title in zip(panels, clouds, ("held out", "published: predicted"), strict=True):
        xy = cells.obsm["X_scimf"]
        ax.scatter(xy[:, 0], xy[:, 1], c=cells.obs["time"], s=2, rasterized=True)
        ax.set(title=title, xlabel="component 1", ylabel="component 2")
    run.save_figure(fig, "fig_papers_b_" + name.replace(".", "_"))

# %% [markdown]
# **Figure b** (where the files are there). Held-out cells, and those that the published
# configuration predicts from the first time on; one colour a time.
#
# ## Beside scTimeBench
#
# Somebody else's benchmark ran a fork of the authors' code at 200 steps, and six other methods, on
# the same sets. Its score is a Sinkhorn divergence in gene space, divided by the number of genes.
# Its components are not scaled, ours are: the same question, not the same test.

# %%
benchmark = pd.DataFrame()
file = run.attempt(paper_boards.BENCHMARK, paper_boards.benchmark_file)
if file is not None:
    benchmark = paper_boards.read_benchmark(file)
    means = benchmark[benchmark["time"].isna()]
    benchmark = means.pivot_table(index="board", columns="method", values="value")
here = table[table["metric"] == "sctimebench"]
here = here.pivot_table(index="board", columns="method", values="mean")
benchmark.join(here.add_prefix("here: "), how="left").round(4)

# %% [markdown]
# ## Counts: the sets of scLDM
#
# Test cells are reconstructed (`re`, `pcc` and `mse` as the paper has them, and `split_error`,
# which does not reward memory) and generated. Of the two screens, treatments of one kind of cells
# are held out altogether and predicted, beside untreated cells and a mean shift.

# %%
n_genes, n_cells, n_test, n_combinations = count_sizes
steps, steps_of_published, flow_steps = count_steps
asked = {"n_genes": n_genes, "n_cells": n_cells, "n_test": n_test, "steps": steps}
asked |= {"published_steps": steps_of_published, "flow_steps": flow_steps}
asked |= {"flow_size": tuple(flow_size), "n_combinations": n_combinations}
asked |= {"published_changes": published_coder}
sizes = paper_counts.CountSizes(**asked)
count_scores = {}
for name in count_sets:
    if name in data:
        question = (data[name], paper_boards.COUNTS[name], sizes)
        count_scores[name] = paper_counts.score(*question, seeds=range(count_seeds), **options)
    else:
        print(f"{name}: {waits[name]}")

# %%
for name, found in count_scores.items():
    for (row, metric), values in found.groupby(["row", "metric"], sort=False)["value"]:
        key = f"{prefix}{name}.{row.replace(' ', '_')}.{metric}"
        run.record({key: interval(values) if len(values) > 1 else float(values.iloc[0])})
    wide = found.pivot_table(index="row", columns="metric", values="value", sort=False)
    print(f"\n{name}\n{wide.round(3).to_string(na_rep='')}")

# %% [markdown]
# ## What you have now
#
# - a table that says of every figure, table and claim of both papers what came of it;
# - boards that turn from *waits* into numbers when their files are put into the cache;
# - one caveat: most printed numbers beside them are second-hand, and of scIMF's own none could be
#   read.

# %%
run.finish()
