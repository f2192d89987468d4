# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The honest scoreboard
#
# **What is asked.** On the same held-out times, with the same cells: how does our model score
# beside the model without interaction, beside its peers, and beside predictions without any model?
# And which scores can a method win at all?
#
# **What was found** (`paper`: 13 boards, two of them read in parts; energy distance; "tie": the 95
# % intervals overlap):
#
# - *Against the best peer* of each board ours ties on 13 of 15 and is farther on two (`emt`,
#   `reprogramming`: few intervals, and a fit that crosses them at the wrong time). It is ahead of
#   all peers nowhere.
# - *Against the best prediction without any model* it is closer on 4 (the two `cytobridge`
#   simulations, the first hours of the immune response, populations nobody trained on), ties on 7
#   and is farther on 4, among them both CITE boards where all other days may be seen.
# - *On the CITE bridges* it is closer than OT interpolation and than the weighted mixture of the
#   two neighbours; the equal mixture of the same two days ties with it, and with 100 components is
#   a little closer (2.073 against 2.078).
# - *The interaction* pays on three of the four CITE boards and in the forecast of the immune
#   response, and costs on populations of `typed`, whose cells do talk (0.008 [0.001, 0.014]), and
#   in the first hours of the immune response (0.002 [0.001, 0.002]); elsewhere no difference is
#   proven. The wins are better fits of a flexible drift, not yet evidence that cells talk.
# - *On real time courses* the mean of the day costs most of the score, and no model can learn it
#   from other days.
#
# **You need** chapter 4, which explains the floor, the baselines and the paired difference. The
# floor is what another draw of real cells scores; a prediction that averages out sampling noise can
# be lower.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach` | 2 CPU cores | two small boards, 3 seeds, short fits |
# | `paper` | any | all boards, the CITE ones with 5 seeds; the ablation; the outside judge |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
boards: list = ["toy", "reprogramming"]  # names of boards
development: list = ["toy"]  # boards on whose training times the bridge settings are chosen again
ablated: list = []  # boards on whose training times ingredients are changed one at a time
whole: list = []  # boards scored with W1 at full size as well
judged: list = []  # data sets for scTimeBench's harness, if SCIMF_SCTIMEBENCH names a Python
extra_on: list = []  # boards with the second choice, the mass-aware and the published form (slow)
n_seeds: int = 3  # training seeds
headline_seeds: int = 3  # training seeds on headline boards
n_steps: int = 120  # optimiser steps of every fit
draws: int = 5  # random draws of cells, shared by all methods; two of them for W1 and W2
paired_draws: int = 60  # draws for the paired difference to the mixture on headline boards
transport_n: int = 400  # most cells on either side of W1 and W2

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from evidence import as_shipped, sctimebench
from evidence.ablation import ablate
from evidence.boards import BOARDS, DEVELOPMENT
from evidence.choices import NEIGHBOUR_CHOICES, NESTED_CHOICES, PACED, Choice
from evidence.choices import compare_choices, recommended
from evidence.predictions import EXTRA, LEARNED, Training
from evidence.scores import Sizes, score_board
from evidence.setups import inner_neighbours, inner_setup, only_neighbours, setups
from evidence.summaries import difference, published_numbers, skills, summary
from evidence.two_sided import fit_two_sided
from scimf import evaluate, fit_space, hold_out, interval, load, plots, start_notebook
from scimf.evaluation import baselines, distances, held_out

# %%
run = start_notebook("scoreboard", globals())
options = {"cache": run.fits, "device": run.device}
loaded = {}


def data_of(board):
    """Return the data of a board, loaded once, so that warnings are said once; None if skipped."""
    key = (board.dataset, str(board.options))
    if key not in loaded:
        found = run.load([board.dataset], **board.options)
        loaded[key] = found.get(board.dataset)
    return loaded[key]


run

# %% [markdown]
# ## What may be seen
#
# A number means something only with the cells that were allowed to make it. Most printed tables are
# fits to all times; of the rest, some predict a day from its two neighbours (*bridge*) and some
# from all other days (*leave-one-out*), which is easier or harder depending on the data. We never
# mix them: `only_neighbours` takes the other days away before anything is fitted.

# %%
toy = load("typed", **BOARDS["toy"].options)
leave_one_out = hold_out(toy, times=[2.0])
_, bridge = only_neighbours(toy, leave_one_out)
seen = {"bridge": [bridge.train_times], "leave-one-out": [leave_one_out.train_times]}
pd.DataFrame(seen, index=["training times"]).T

# %% [markdown]
# ## Predict from both sides
#
# Our prediction of a time $t$ between $a$ and $b$ mixes cells of $a$ moved forward, cells of $b$
# moved backward by a second model of reversed time, and cells that do not move at all
# (`notebooks/reports/evidence/two_sided.py`), with $w = (t-a)/(b-a)$:
#
# $$
# \hat\mu_t = \lambda\bigl[(1-w)\,\mu_{a\to t} + w\,\mu_{b\to t}\bigr]
# + (1-\lambda)\sum_k w_k\,\mu_{t_k}, \qquad w_k \propto |t-t_k|^{-p} .
# $$
#
# Why keep some cells still? What differs between two days may be time, or the day (batch,
# handling). The energy distance is convex in the prediction, so a hedge costs at most the mean of
# its parts.
#
# ## Choosing without looking
#
# The kinetic weight of the fits, $\lambda$ and $p$ are settings. Where at least two times can be
# held out *inside* the training times of a set-up, the best setting there is used (`choose`).
# Elsewhere there is nothing to choose on, and one global default is used, chosen on such inner
# times of three other data sets. `paper` repeats that choice here.

# %%
inner_scores = {"leave one out": {}, "bridge": {}}
short = {**options, "seeds": range(2), "steps": n_steps}
for name in development:
    board = BOARDS[name]
    data = data_of(board)
    if data is None:
        continue
    (setup,) = setups(board, data)
    inner = inner_setup(setup, board.n_pcs)
    inner_scores["leave one out"][name] = compare_choices(inner, NESTED_CHOICES, **short)
    total = 0
    for inner in inner_neighbours(setup, board.n_pcs):
        total = total + compare_choices(inner, NEIGHBOUR_CHOICES, **short)
    inner_scores["bridge"][name] = total

# %%
ratios = {}
for kind, part in inner_scores.items():
    ratio = pd.DataFrame(part)
    ratios[kind] = ratio.div(ratio.loc["mixture"]).mean(axis=1).filter(like="kinetic")
    print(f"{kind}: energy distance, ratio to the neighbour mixture")
    print(f"{ratios[kind].sort_values().head(6).round(3).to_string()}\n")
whole_course = ratios["leave one out"]
pairs = ratios["bridge"]

# %%
first = str(Choice())
second = str(PACED)
run.record({"choice.first.ratio_to_mixture": whole_course[first]})
run.record({"choice.second.ratio_to_mixture": pairs[second]})
if set(development) == set(DEVELOPMENT):
    near = whole_course[first] < 1.05 * whole_course.min()
    run.expect("the first choice is within 5 % of the best on inner times", near)
    run.expect("the second choice is the best on inner bridges", pairs.idxmin() == second)

# %% [markdown]
# **Two choices, and the order in which they were made.** The first (no kinetic weight, two thirds
# move) was chosen on inner leave-one-out problems, committed, and scored: it is the headline,
# `scimf`. Its scores on CITE were then seen (below the mixture by an interval that just held zero
# over ten draws), and so were its *fits*: on a single interval its models cross nearly all of the
# way at once (figure a). So a second one was chosen on inner *bridges* (a kinetic weight, one third
# moves), committed and scored: `scimf, paced`. It did worse on the CITE bridges. Both stay on the
# board; picking between them by their scores would be choosing on the held-out days. Some CITE
# numbers of earlier trials (thirds of all other days 2.03, the mixture 2.27) were known before
# either was made. The tolerance of the first claim above was set after its ratio was seen; a later
# run must keep it.
#
# ## When do cells move?
#
# Between two snapshots the data say *where* cells end, not *when* they go. A drift that crosses in
# the first tenth of the interval and then waits fits both snapshots perfectly. Only the kinetic
# energy $\int E\|f\|^2\,\mathrm{d}t$ prefers constant speed (Benamou & Brenier 2000; it is a term
# of scIMF's loss). This needs no held-out cell to see: the share of the way between the two means
# that the fitted model has crossed.


# %%
def way_crossed(model, start, end, times):
    """Share of the way between the means of two training times that the cells' mean has crossed."""
    who = sorted(model.starts.density)[0]
    begin = model.starts.cells[who, start].mean(0)
    way = model.starts.cells[who, end].mean(0) - begin
    shares = []
    for time in times:
        cloud = model.sample([time], populations=[who]).obsm["X_scimf"]
        shares.append(float((cloud.mean(0) - begin) @ way / (way @ way)))
    return shares


# %%
paced = replace(BOARDS["toy"], protocol="neighbours_only", held_populations=0)
for name in boards:
    if BOARDS[name].protocol == "neighbours_only" and data_of(BOARDS[name]) is not None:
        paced = BOARDS[name]
        break
setup = next(iter(setups(paced, data_of(paced))))
configs = {}
for name, choice in (("first", Choice()), ("paced", PACED)):
    configs[name] = recommended(kinetic_weight=choice.kinetic_weight, steps=n_steps)
problem = (setup.adata, setup.split, setup.space)
fits = fit_two_sided(*problem, configs=configs, seeds=range(n_seeds), **options)

# %%
start, end = setup.split.train_times
asked = np.linspace(start, end, 9)
crossed = {}
for (name, k), fit in fits.items():
    crossed[f"{name}, seed {k}"] = [0.0, *way_crossed(fit.forward, start, end, asked[1:])]
crossed = pd.DataFrame(crossed, index=pd.Index(asked, name="time"))
crossed.round(2)

# %%
fig, ax = plt.subplots(figsize=(3.4, 2.4))
for (name, k), column in zip(fits, crossed, strict=True):
    label = name if k == 0 else None
    ax.plot(asked, crossed[column], color=plots.PALETTE[name == "paced"], lw=1, label=label)
ax.plot([start, end], [0, 1], color="0.6", lw=0.8, ls="--", zorder=0)
unit = setup.adata.uns["scimf"]["time_unit"]
ax.set(xlabel=f"time ({unit})", ylabel="share of the way crossed")
ax.legend()
run.save_figure(fig, "fig_scoreboard_a_when_cells_move", data=crossed)

# %% [markdown]
# **Figure a.** One line a training seed, on the first bridge of this run; dashed, constant speed.
# In `paper` that is CITE from day 2 to day 4, where the first choice has crossed nearly all of the
# way by day 3; the small simulation of `teach` hardly shows it. The two snapshots cannot tell the
# lines apart.
#
# ## The cost of the mean, by hand
#
# Take the true cells and move them all by one vector, so that their mean is the predicted one.
# Their energy distance to the unmoved truth is what a prediction with a **perfect shape** would
# score: the cost of the mean. Centring both clouds scores the shape alone. The two do not add up,
# but they say where a method loses.

# %%
of_one = (toy.obs["population"] == "p00") & (toy.obs["time"] == 2.0)
y = toy.X[of_one.to_numpy()].astype(float)
x = y + 0.7
n = len(y)
inside = cdist(y, y).sum() / (n * (n - 1))
across = cdist(x, y)
between = (across.sum() - np.trace(across)) / (n * (n - 1))  # no cell with its own shifted self
assert np.isclose(between - inside, distances.cost_of_mean(x, y))
off = np.linalg.norm(x[0] - y[0])
print(f"cost of a mean that is off by {off:.2f}: {between - inside:.3f}")

# %% [markdown]
# ## Run every board
#
# Peers are small re-implementations from published equations, trained on the same cells with the
# same number of steps: a neural ODE with transport loss (family of scNODE and MIOFlow), a
# potential-gradient SDE (family of PRESCIENT and PI-SDE), OT flow matching (OT-CFM) and a discrete
# Schrödinger bridge; scIMF in its published form (attention), and on some boards its mass-aware
# form and the whole published configuration, shortened. A peer's own tuning may do better than ours
# of it.

# %%
training = {}
sizes = {}
for name in boards:
    methods = [method for method in LEARNED if name in extra_on or method not in EXTRA]
    seeds = range(headline_seeds if BOARDS[name].headline else n_seeds)
    trained = {"methods": tuple(methods), "seeds": tuple(seeds), "steps": n_steps}
    training[name] = Training(peer_seeds=tuple(range(n_seeds)), **trained)
    asked = {"draws": draws, "transport_n": transport_n, "paired_draws": paired_draws}
    sizes[name] = Sizes(n=BOARDS[name].n, whole=name in whole, **asked)

# %%
results = {}
for name in boards:
    board = BOARDS[name]
    data = data_of(board)
    if data is not None:
        results[name] = score_board(board, data, training[name], sizes[name], **options)
        by_setup = results[name]["scores"].groupby("setup")["choice"].first()
        print(f"{name}: {by_setup.to_dict()}")

# %% [markdown]
# Two boards are read in parts: populations nobody trained on are another question than a held-out
# time, and the first hours of the immune response, where most of it happens, are apart.

# %%
scores = {}
for name, found in results.items():
    for kind, part in found["scores"].groupby("kind"):
        key = name if kind == "time" else f"{name}.populations"
        scores[key] = part.assign(board=key)
if "pbmc" in scores:
    early = scores["pbmc"]["time"] <= 4
    scores["pbmc.hours_1_4"] = scores["pbmc"][early].assign(board="pbmc.hours_1_4")
table = pd.concat([summary(part) for part in scores.values()], ignore_index=True)
for row in table.itertuples():
    values = {"mean": row.mean, "lo": row.lo, "hi": row.hi, "n_seeds": row.n_seeds}
    run.record({f"{row.board}.{row.method}.{row.metric}": values})

# %%
names = {"w1": "W1", "energy_distance": "energy", "centred_energy": "shape"}
names |= {"cost_of_mean": "mean", "mmd2": "MMD²"}
for name, part in table.groupby("board", sort=False):
    what = BOARDS[name].what if name in BOARDS else f"a part of {name.split('.')[0]}"
    print(f"\n{name}: {what}; at most n = {int(part['n'].max())}, W1 at most {transport_n}")
    wide = part.pivot_table(index="method", columns="metric", values="mean")
    wide = wide.rename(index=plots.METHOD_LABELS).sort_values("energy_distance")
    print(wide[list(names)].rename(columns=names).round(4).to_string())

# %% [markdown]
# Rows without training (baselines, floor) carry `n_seeds` 0 in the record; their interval is over
# draws of cells. In the column *shape* both clouds are centred; *mean* is the cost of the mean. A
# method that is close in *shape* and far in *energy* has lost the day, not the biology.
#
# ## Who wins where

# %%
groups = {"peer": ["no_interaction", "attention", "occupancy", "published", "neural_ode"]}
groups["peer"] += ["potential_sde", "flow_matching", "schroedinger_bridge"]
groups["no model"] = list(baselines.BASELINES)

# %%
standing = {}
for name, part in table[table["metric"] == "energy_distance"].groupby("board", sort=False):
    part = part.set_index("method")
    ours = part.loc["scimf"]
    standing[name] = {"ours": f"{ours['mean']:.4f}"}
    for group, methods in groups.items():
        best = part.loc[part.index.intersection(methods)].nsmallest(1, "mean").iloc[0]
        standing[name][f"best {group}"] = f"{plots.METHOD_LABELS[best.name]} {best['mean']:.4f}"
        standing[name][f"vs {group}"] = "tie"
        if ours["hi"] < best["lo"]:
            standing[name][f"vs {group}"] = "ours is closer"
        if ours["lo"] > best["hi"]:
            standing[name][f"vs {group}"] = "ours is farther"

# %%
standing = pd.DataFrame(standing).T.rename_axis("board")
standing

# %% [markdown]
# "Closer" and "farther" where the 95 % intervals do not overlap: over training seeds for what is
# trained, over draws of cells for the rest. The best of several rivals is picked after its score is
# seen, which favours it.

# %%
skill = skills(table)
wanted = ["scimf", "scimf_paced", "no_interaction", "attention"]
wanted += ["flow_matching", "neural_ode", "potential_sde"]
fig, ax = plt.subplots(figsize=(7, 1.4 + 0.3 * skill.shape[1]))
for k, (method, marker) in enumerate(zip(wanted, "oDoos^v", strict=True)):
    if method in skill.index:
        at = np.arange(skill.shape[1]) + (k - 3) * 0.11
        style = {"color": plots.METHOD_COLOURS[method], "label": plots.METHOD_LABELS[method]}
        ax.plot(skill.loc[method].clip(lower=-1), at, marker, ms=4, mec="black", mew=0.3, **style)
ax.axvline(0, color="0.4", lw=0.8)
ax.set(yticks=range(skill.shape[1]), yticklabels=skill.columns, xlim=(-1.05, 1.05))
ax.set(ylim=(skill.shape[1] - 0.5, -0.5), xlabel="skill in energy distance")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save_figure(fig, "fig_scoreboard_b_skill_by_board", data=skill)

# %% [markdown]
# **Figure b.** Skill: 1 is the floor (another draw of real cells), 0 the best prediction *without
# any model* on that board, which is a different one on each; below −1 is drawn at −1. Where every
# method is left of zero, say so: no model was needed there.
#
# Two things can cost us, and both can be seen without a held-out cell: cells kept still where the
# way is real, and a model that crosses at the wrong time. How much of the way has the first choice
# crossed at the held-out time, and how much would constant speed cross?

# %%
between_times = []
for name, found in results.items():
    if set(found["scores"]["choice"]) != {first}:
        continue
    for setup in setups(BOARDS[name], data_of(BOARDS[name])):
        held = setup.split.held_times[0]
        if held < setup.split.train_times[-1]:  # not a forecast
            between_times.append((name, held, setup))

# %%
rows = {}
first_choice = {"configs": {"first": configs["first"]}, "seeds": range(n_seeds), **options}
for name, held, setup in between_times:
    times = np.array(setup.split.train_times)
    start = times[times < held][-1]
    end = times[times > held][0]
    models = fit_two_sided(setup.adata, setup.split, setup.space, **first_choice)
    shares = []
    for fit in models.values():
        shares += way_crossed(fit.forward, start, end, [held])
    run.record({f"{name}.way_crossed_at_{held:.3g}": interval(shares)})
    steady = {"constant speed": (held - start) / (end - start)}
    rows[name, round(held, 2)] = interval(shares) | steady
pd.DataFrame(rows).T.rename_axis(["board", "held-out time"]).round(2)

# %% [markdown]
# **Where ours is farther, and why** (of the `paper` run):
#
# - *emt and reprogramming*: few intervals. By the held-out time the first choice has crossed nearly
#   all of the way, or overshot it, where constant speed would be at a third or a half. The fit
#   meets its snapshots; nothing told it when to move. Peers that follow straight transport do not
#   have this trouble, nor does OT interpolation.
# - *cite bridge_plus*: equal parts of all other days, without any model, are closer than everything
#   that learned. What a day adds by itself is best averaged over many days, and our default keeps
#   only a third of the cells still. The second choice, which keeps two thirds, is closer than the
#   first here and farther on the bridges.
# - *typed*: several predictions without a model reach the floor, and OT interpolation lies below
#   it, because it averages the random composition of two snapshots of 50 cells. For populations
#   nobody trained on, the twin without interaction is even closer, though these cells do talk; with
#   100 cells and longer fits it is farther (chapter 4).
#
# **Where ours is closer but could be closer still**: on the `cytobridge` boards the pace is right,
# no day is shifted, and the third of the cells that is kept still only costs: forward prediction
# alone is much closer. We leave the frozen choice as it is; a rule that reads the pace from the fit
# is work for later, and needs new held-out data.
#
# ## Is the interaction needed?
#
# Ours and the twin of equal size share cells, seeds, settings and mixing, so the paired difference
# is the interaction's.

# %%
rows = {}
for name, part in scores.items():
    rows[name] = difference(part, "scimf", "no_interaction", unit="seed")
    run.record({f"{name}.difference_to_no_interaction": rows[name]})
twin = pd.DataFrame(rows).T
twin["closer"] = "tie"
twin.loc[twin["hi"] < 0, "closer"] = "interacting"
twin.loc[twin["lo"] > 0, "closer"] = "no interaction"
twin.round(4)

# %% [markdown]
# A win here is a better *fit of a flexible drift*, not yet evidence that cells talk: one population
# cannot tell the two apart (chapter 5). Nor is a loss evidence that they do not: on `typed` they
# do.
#
# ## Where is prediction possible?

# %%
kinds = {"energy_distance": "energy distance", "cost_of_mean": "cost of the mean"}
kinds["centred_energy"] = "shape alone"
wide = table[table["method"] == "mixture"].set_index(["board", "metric"])["mean"].unstack()
wide = wide[list(kinds)].reindex([name for name in scores if name in wide.index])
fig, ax = plt.subplots(figsize=(7, 1.0 + 0.26 * len(wide)))
for k, (metric, label) in enumerate(kinds.items()):
    at = np.arange(len(wide)) + (k - 1) * 0.25
    ax.barh(at, wide[metric].clip(lower=1e-4), 0.25, label=label, color=plots.PALETTE[k])
ax.set(yticks=range(len(wide)), yticklabels=wide.index, xscale="log")
ax.set_xlabel("neighbour mixture (units of the data)")
ax.invert_yaxis()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save_figure(fig, "fig_scoreboard_c_cost_of_the_mean", data=wide)

# %% [markdown]
# **Figure c.** The neighbour mixture on every board with two neighbours, in energy distance, and
# what its mean and its shape cost; what is not above zero is drawn at 10⁻⁴. Where the first two
# bars are alike the shape is right and what is missing is where the day lies as a whole: a shift
# shared by all cells, which other days do not contain. There, a score with the mean in it cannot
# tell methods apart: our headline is the shape, and boards whose mean costs little.
#
# ## Beside published numbers

# %%
ours = table[table["method"] == "scimf"].set_index(["board", "metric"])["mean"]
large = {}
for name, found in results.items():
    if len(found["whole"]):
        part = found["whole"].assign(seed=found["whole"]["seed"].fillna(-1))
        large[name] = part.groupby(["method", "seed"])["w1"].mean()
for name, by_method in large.items():
    for method, values in by_method.groupby("method"):
        known = interval(values) if method in LEARNED else float(values.mean())
        run.record({f"{name}.whole.w1.{method}": known})
    print(name, by_method.groupby("method").mean().sort_values().round(4).to_dict())
    board = name.replace(".bridge_plus", "") + ".loo"
    ours[board, "w1"] = by_method["scimf"].mean()

# %%
printed = published_numbers()
printed = printed[printed["at"].isna()].drop(columns="at")  # the rest is in report growth
ours_of = []
for board, metric in zip(printed["board"], printed["metric"], strict=True):
    ours_of.append(round(ours.get((board, metric), np.nan), 3))
printed["ours"] = ours_of
printed.loc[printed["ours"].isna(), "status"] = "not run"
printed.drop(columns="source").fillna("")

# %%
bridges = [name for name in scores if name.startswith("cite") and name.endswith(".bridge")]
interval_of = ["mean", "lo", "hi", "n_seeds"]
gaps = {}
for name in bridges:
    mean = table[(table["board"] == name) & (table["metric"] == "energy_distance")]
    mean = mean.set_index("method")[interval_of]
    run.record({f"{name}.energy_distance": mean.loc["scimf"].to_dict()})
    for method in ("mixture", "ot_interpolation", "flow_matching", "no_interaction"):
        run.record({f"{name}.{method}": mean.loc[method].to_dict()})
        many = method in ("mixture", "no_interaction")
        part = results[name]["paired"] if many else scores[name]
        gaps[name, method] = difference(part, "scimf", method)

# %%
for (name, method), gap in gaps.items():
    n = gap["n_seeds"]
    run.record({f"{name}.difference.{method}": gap | {"n_seeds": 0}})
    run.record({f"{name}.difference.{method}.n_draws": n})
    shown = f"{gap['mean']:.3f} [{gap['lo']:.3f}, {gap['hi']:.3f}]"
    print(f"{name}, ours - {method}: {shown}, {n} draws")
for name in bridges:
    claim = f"{name}: below OT interpolation, paired interval over shared subsamples"
    run.expect(claim, gaps[name, "ot_interpolation"]["hi"] < 0)

# %% [markdown]
# Below zero: ours is closer. The intervals are over random subsamples of the same cells: they hold
# for these cells, not for another experiment. The one to the mixture is printed, not claimed in
# advance: published methods tie there; and the *equal* mixture of the same two days (`mixture_all`)
# is level with ours. W1 at full size is farther than others print on `cite50`, `emt` and
# `cytobridge_attraction`, closer on the forecast.

# %%
if "cite50.bridge_plus" in large:
    by_method = large["cite50.bridge_plus"]
    run.record({"cite50.loo.w1": interval(by_method["scimf_forward"])})
    run.record({"cite50.loo.w1_two_sided": interval(by_method["scimf"])})

# %% [markdown]
# ## Peers as their authors ship them
#
# `make peers` installs each peer of `workflow/peers/peers.toml` from the package index, in an
# environment of its own, and runs it by the route of its own documentation: training cells in,
# predicted cells out, scored as every row above. Nothing of them is run here; this reads the
# record. Beside each stands our re-implementation of the same idea, fitted in the same sitting. A
# peer is not tuned by us: a longer budget, or settings for these data, may do better. Seconds are
# CPU seconds of one fit, in one thread, of a package that may have been made for a card.

# %%
asked, peers = as_shipped.read_peers()
record = as_shipped.read_record()
shipped = as_shipped.as_shipped_table(record, peers)
shipped.round(4).fillna("")

# %%
for name, found in record["boards"].items():
    for row in pd.DataFrame(found["rows"]).itertuples():
        if row.method in peers and row.method not in found["failed"]:
            values = {"mean": row.mean, "lo": row.lo, "hi": row.hi, "n_seeds": row.n_seeds}
            run.record({f"{name}.as_shipped.{row.method}.{row.metric}": values})
    for method, seconds in found["seconds"].items():
        run.record({f"{name}.as_shipped.{method}.seconds": seconds["mean"]})

# %%
for name, peer in peers.items():
    shortened = f" Shortened here: {peer.shortened}." if peer.shortened else ""
    print(f"{name} {peer.version} ({peer.licence}), {peer.page}\n{peer.differs}{shortened}\n")

# %% [markdown]
# "Tie" where the 95 % intervals over training seeds overlap; fewer than three seeds decide nothing.
# Where ours and the original differ,
# the text above says what of the code does: most re-implementations share our optimiser, our budget
# and our time scale, which the original has not.
#
# ## Which ingredient matters?
#
# One ingredient is changed at a time, on times held out *inside* the training times: an ablation on
# the test times would be a search on them.

# %%
changes = {}
for name in ablated:
    board = BOARDS[name]
    data = data_of(board)
    if data is not None:
        (setup,) = setups(board, data)
        inner = inner_setup(setup, board.n_pcs)
        found = ablate(inner, seeds=range(n_seeds), steps=n_steps, **options)
        changes[name] = found.div(found["as recommended"], axis=0).T

# %%
for name, change in changes.items():
    for ingredient, values in change.drop(index="as recommended").iterrows():
        if values.notna().all():
            run.record({f"ablation.{name}.{ingredient.replace(' ', '_')}": interval(values)})
    print(f"{name}: energy distance, ratio to the recommended configuration by seed")
    print(change.round(3).to_string(na_rep=""))

# %% [markdown]
# Above 1 the change hurts. A row that is empty diverged: the debiased OT loss subtracts the
# distance between two halves of the *prediction*, and with a few hundred cells in twenty dimensions
# a prediction can lower it by flying apart.
#
# ## An outside judge
#
# scTimeBench is somebody else's benchmark with its own harness and metrics.
# `evidence/sctimebench.py` beside this report runs our model under it. Two rows answer two
# questions: `from_t0` simulates every held-out time from the first snapshot, `own_state` moves each
# test cell from its own state, which from the second held-out time on is a held-out cell.

# %%
judgements = {}
for name in judged:
    board = next(board for board in BOARDS.values() if board.dataset == name)
    for data in run.load([name]).values():
        asked = {"seeds": range(n_seeds), "n_pcs": board.n_pcs}
        asked["config"] = recommended(steps=n_steps)
        found = sctimebench.score_with_sctimebench(data, board.setups[0], **asked)
        judgements[name] = found[found["time"].isna()]  # its own mean over held-out times

# %%
for name, found in judgements.items():
    for (row, metric), values in found.groupby(["row", "metric"])["value"]:
        trained = row in sctimebench.TRAINED
        known = interval(values) if trained else float(values.mean())
        run.record({f"judge.{name}.{row}.{metric}": known})
    print(found.groupby(["row", "metric"])["value"].mean().unstack().round(4).to_string())

# %% [markdown]
# Its Wasserstein score is a squared distance over all genes, which rewards a prediction without the
# noise of single cells: read a row beside `mean_first` (one mean cell, repeated), `copy_first_pcs`
# (real cells through our components) and `oracle_pcs` (the truth through our components). Its
# leaderboard has neither.
#
# ## Your method in five lines
#
# Predict time 2 of the small simulation by any means and score it. A prediction is an array or an
# AnnData with `time`; it may use training cells only. The one below moves all cells of time 1 by
# 0.1, which is no help.

# %%
small = toy[(toy.obs["population"] == "p00").to_numpy()].copy()
split = hold_out(small, times=[2.0])
space = fit_space(small, split)
mine = small.obsm["X_scimf"][(small.obs["time"] == 1.0).to_numpy()] + 0.1
result = evaluate(mine, small, split, scoring=held_out.Scoring(draws=30))
result = result.pivot_table(index="method", columns="metric", values="value")
energy = result["energy_distance"]
assert energy["floor"] < energy["copy_previous"] < energy["model"]
result.sort_values("energy_distance").round(4)

# %% [markdown]
# ## A metric that can be cheated
#
# Shrink the true cells half-way towards their mean. W2 calls that an improvement over the floor; W1
# and the energy distance do not.

# %%
truth = small[(small.obs["time"] == 2.0).to_numpy()].obsm["X_scimf"]
shrunk = truth.mean(0) + 0.5 * (truth - truth.mean(0))
cheat = evaluate(shrunk, small, split, scoring=held_out.Scoring(draws=20))
cheat = cheat.pivot_table(index="method", columns="metric", values="value")
assert cheat.loc["model", "energy_distance"] > cheat.loc["floor", "energy_distance"]
cheat.loc[["floor", "model"], ["w1", "w2", "energy_distance", "centred_energy"]].round(3)

# %% [markdown]
# ## One caveat
#
# Settings were chosen without held-out cells, and a test replaces those cells and finds nothing
# changed. But on real time courses the day itself (batch, handling) can cost more than everything a
# model can learn.

# %%
run.finish()
