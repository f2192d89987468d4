# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6 · The honest scoreboard
#
# **You will** score our model, the model without interaction, its peers and predictions without a model on
# the same held-out times, and see which scores a method can win at all.
#
# **You will learn to**
#
# - keep two questions apart: predict a day from its two neighbours (*bridge*), or from all other days
#   (*leave-one-out*);
# - choose settings without looking at a held-out cell, even when only two days are left to learn from;
# - split an energy distance into what the mean costs and what the shape costs;
# - put your own method on the board in five lines.
#
# **You need** notebook 4, which explains the floor, the baselines and the paired difference.
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
boards: list = ["toy", "reprogramming"]  # keys of scimf.scoreboard.BOARDS
development: list = ["toy"]  # boards on whose training times the bridge settings are chosen again
ablated: list = []  # boards on whose training times ingredients are changed one at a time
whole: list = []  # boards scored with W1 at full size as well
judged: list = []  # data sets for scTimeBench's harness, if SCIMF_JUDGE names a Python that has it
extra_on: list = []  # boards with the second choice, the mass-aware form and the published configuration too (slow)
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

import scimf
from scimf import judge, plots, scoreboard, start_notebook
from scimf.baselines import BASELINES
from scimf.bridge import fit_bridges
from scimf.evaluate import evaluate, interval
from scimf.preprocess import only_neighbours
from scimf.scoreboard import BOARDS, LEARNED, Choice
from scimf.transport import cost_of_mean

run = start_notebook("06_scoreboard", globals())
run

# %% [markdown]
# ## What may be seen
#
# A number means something only with the cells that were allowed to make it. Most printed tables are fits to all
# times; of the rest, some predict a day from its two neighbours and some from all other days, which is easier or
# harder depending on the data. We never mix them: `only_neighbours` takes the other days away before anything is
# fitted.

# %%
toy = scimf.load("typed", **BOARDS["toy"].options)
leave_one_out = scimf.hold_out(toy, times=[2.0])
bridge_data, bridge = only_neighbours(toy, leave_one_out)
pd.DataFrame({"bridge": [bridge.train_times], "leave-one-out": [leave_one_out.train_times]}, index=["training times"]).T

# %% [markdown]
# ## Predict from both sides
#
# Our prediction of a time $t$ between $a$ and $b$ mixes cells of $a$ moved forward, cells of $b$ moved backward by a
# second model of reversed time, and cells that do not move at all (`scimf/bridge.py`), with $w = (t-a)/(b-a)$:
#
# $$
# \hat\mu_t = \lambda\bigl[(1-w)\,\mu_{a\to t} + w\,\mu_{b\to t}\bigr] + (1-\lambda)\sum_k w_k\,\mu_{t_k},
# \qquad w_k \propto |t-t_k|^{-p} .
# $$
#
# Why keep some cells still? What differs between two days may be time, or the day (batch, handling). The energy
# distance is convex in the prediction, so a hedge costs at most the mean of its parts.
#
# ## Choosing without looking
#
# The kinetic weight of the fits, $\lambda$ and $p$ are settings. Where at least two times can be held out *inside*
# the training times of a set-up, the best setting there is used (`choose`). Elsewhere there is nothing to choose
# on, and one global default is used, chosen on such inner times of three other data sets. `paper` repeats that
# choice here.

# %%
inner_scores = {"leave one out": {}, "bridge": {}}
for name in development:
    for data in run.load([BOARDS[name].dataset], each={BOARDS[name].dataset: BOARDS[name].options}).values():
        (setup,) = scoreboard.setups(BOARDS[name], data)
        options = {"cache": run.fits, "device": run.device, "seeds": range(2), "steps": n_steps}
        inner = scoreboard.inner_setup(setup, BOARDS[name].n_pcs)
        whole_course = scoreboard.compare_choices(inner, scoreboard.NESTED_CHOICES, **options)
        bridges = scoreboard.inner_bridges(setup, BOARDS[name].n_pcs)
        pairs = sum(scoreboard.compare_choices(x, scoreboard.BRIDGE_CHOICES, **options) for x in bridges)
        inner_scores["leave one out"][name], inner_scores["bridge"][name] = whole_course, pairs
ratios = {}
for kind, part in inner_scores.items():
    ratio = pd.DataFrame(part)
    ratios[kind] = ratio.div(ratio.loc["mixture"]).mean(axis=1).filter(like="kinetic")
    print(f"{kind}: energy distance, ratio to the neighbour mixture\n{ratios[kind].sort_values().head(6).round(3)}\n")

# %%
first, second = str(Choice()), str(scoreboard.PACED)
run.record({"choice.first.ratio_to_mixture": ratios["leave one out"][first]})
run.record({"choice.second.ratio_to_mixture": ratios["bridge"][second]})
if set(development) == set(scoreboard.DEVELOPMENT):
    whole_course, pairs = ratios["leave one out"], ratios["bridge"]
    near = whole_course[first] < 1.05 * whole_course.min()
    run.expect("the first choice is within 5 % of the best on inner times", near)
    run.expect("the second choice is the best on inner bridges", pairs.idxmin() == second)

# %% [markdown]
# **Two choices, and the order in which they were made.** The first (no kinetic weight, two thirds move) was chosen
# on inner leave-one-out problems, committed, and scored: it is the headline, `scimf`. Its scores on CITE were then
# seen (below the mixture by an interval that just held zero over ten draws), and so were its *fits*: on a single
# interval its models cross nearly all of the way at once (figure 6a). So a second one was chosen on inner *bridges*
# (a kinetic weight, one third moves), committed and scored: `scimf, paced`. It did worse on the CITE bridges. Both
# stay on the board; picking between them by their scores would be choosing on the held-out days. Some CITE numbers
# of earlier trials (thirds of all other days 2.03, the mixture 2.27) were known before either was made. The
# tolerance of the first claim above was set after its ratio was seen; a later run must keep it.
#
# ## When do cells move?
#
# Between two snapshots the data say *where* cells end, not *when* they go. A drift that crosses in the first tenth
# of the interval and then waits fits both snapshots perfectly. Only the kinetic energy $\int E\|f\|^2\,\mathrm{d}t$
# prefers constant speed (Benamou & Brenier 2000; it is a term of scIMF's loss). This needs no held-out cell to see:
# the share of the way between the two means that the fitted model has crossed.

# %%
toy_bridge = replace(BOARDS["toy"], protocol="bridge", held_populations=0)
paced = next((BOARDS[b] for b in boards if BOARDS[b].protocol == "bridge"), toy_bridge)
weights, fits = {"first": Choice().kinetic_weight, "paced": scoreboard.PACED.kinetic_weight}, {}
configs = {name: scoreboard.recommended(kinetic_weight=k, steps=n_steps) for name, k in weights.items()}
for data in run.load([paced.dataset], each={paced.dataset: paced.options}).values():
    setup = next(scoreboard.setups(paced, data))
    problem, options = (setup.adata, setup.split, setup.space), {"cache": run.fits, "device": run.device}
    fits = fit_bridges(*problem, configs=configs, seeds=range(n_seeds), **options)


# %%
def way_crossed(model, start, end, times):
    """Share of the way between the means of two training times that the cells' mean has crossed at given times."""
    who = sorted(model.starts.density)[0]
    first_mean, last_mean = (model.starts.cells[who, t].mean(0) for t in (start, end))
    way = last_mean - first_mean
    clouds = [model.sample([t], populations=[who]).obsm["X_scimf"] for t in times]
    return [float((cloud.mean(0) - first_mean) @ way / (way @ way)) for cloud in clouds]


start, end = setup.split.train_times
asked = np.linspace(start, end, 9)
crossed = {f"{k}, seed {s}": [0.0, *way_crossed(fit.forward, start, end, asked[1:])] for (k, s), fit in fits.items()}
pd.DataFrame(crossed, index=asked.round(2)).rename_axis("time").round(2)

# %%
fig, ax = plt.subplots(figsize=(3.4, 2.4))
for name, share in crossed.items():
    colour, label = plots.PALETTE["paced" in name], name.removesuffix(", seed 0")
    ax.plot(asked, share, color=colour, lw=1, label=None if "seed" in label else label)
ax.plot([start, end], [0, 1], color="0.6", lw=0.8, ls="--", zorder=0)
ax.set(xlabel=f"time ({setup.adata.uns['scimf']['time_unit']})", ylabel="share of the way crossed")
ax.legend()
run.save_figure(fig, "fig6a_when_cells_move", data=pd.DataFrame(crossed, index=asked).rename_axis("time"))

# %% [markdown]
# **Figure 6a.** One line a training seed, on the first bridge of this run; dashed, constant speed. In `paper` that
# is CITE from day 2 to day 4, where the first choice has crossed nearly all of the way by day 3; the small
# simulation of `teach` hardly shows it. The two snapshots cannot tell the lines apart.
#
# ## The cost of the mean, by hand
#
# Take the true cells and move them all by one vector, so that their mean is the predicted one. Their energy
# distance to the unmoved truth is what a prediction with a **perfect shape** would score: the cost of the mean.
# Centring both clouds scores the shape alone. The two do not add up, but they say where a method loses.

# %%
y = toy.X[((toy.obs["population"] == "p00") & (toy.obs["time"] == 2.0)).to_numpy()].astype(float)
x, n = y + 0.7, len(y)
inside = cdist(y, y).sum() / (n * (n - 1))
between = (cdist(x, y).sum() - np.trace(cdist(x, y))) / (n * (n - 1))  # a cell is not paired with its own shifted self
assert np.isclose(between - inside, cost_of_mean(x, y))
print(f"cost of a mean that is off by {np.linalg.norm(x[0] - y[0]):.2f}: {between - inside:.3f}")

# %% [markdown]
# ## Run every board
#
# Peers are small re-implementations from published equations, trained on the same cells with the same number of
# steps: a neural ODE with transport loss (family of scNODE and MIOFlow), a potential-gradient SDE (family of
# PRESCIENT and PI-SDE), OT flow matching (OT-CFM) and a discrete Schrödinger bridge; scIMF in its published form
# (attention), and on some boards its mass-aware form and the whole published configuration, shortened. A peer's own
# tuning may do better than ours of it.

# %%
results = {}
for name in boards:
    board = BOARDS[name]
    sizes = {"draws": draws, "paired_draws": paired_draws, "transport_n": transport_n, "whole": name in whole}
    seeds = {"seeds": headline_seeds if board.headline else n_seeds, "peer_seeds": n_seeds}
    for data in run.load([board.dataset], each={board.dataset: board.options}).values():
        options = {"cache": run.fits, "device": run.device, "steps": n_steps, "extra": name in extra_on}
        results[name] = scoreboard.score_board(board, data, **sizes, **seeds, **options)
        print(f"{name}: {results[name]['scores'].groupby('setup')['choice'].first().to_dict()}")
# %% [markdown]
# Two boards are read in parts: populations nobody trained on are another question than a held-out time, and the first
# hours of the immune response, where most of it happens, are apart.

# %%
scores = {}
for name, found in results.items():
    for kind, part in found["scores"].groupby("kind"):
        key = name if kind == "time" else f"{name}.populations"
        scores[key] = part.assign(board=key)
if "pbmc" in scores:
    scores["pbmc.hours_1_4"] = scores["pbmc"].query("time <= 4").assign(board="pbmc.hours_1_4")

# %%
table = pd.concat([scoreboard.summary(part) for part in scores.values()], ignore_index=True)
for row in table.itertuples():
    values = {"mean": row.mean, "lo": row.lo, "hi": row.hi, "n_seeds": row.n_seeds}
    run.record({f"{row.board}.{row.method}.{row.metric}": values})
names = {"w1": "W1", "energy_distance": "energy", "centred_energy": "shape", "cost_of_mean": "mean", "mmd2": "MMD²"}
for name, part in table.groupby("board", sort=False):
    wide = part.pivot_table(index="method", columns="metric", values="mean").rename(index=plots.METHOD_LABELS)
    what = BOARDS[name].what if name in BOARDS else f"a part of {name.split('.')[0]}"
    print(f"\n{name}: {what}; at most n = {int(part['n'].max())}, W1 at most {transport_n}")
    print(wide.sort_values("energy_distance")[list(names)].rename(columns=names).round(4).to_string())

# %% [markdown]
# Rows without training (baselines, floor) carry `n_seeds` 0 in the record; their interval is over draws of cells.
# In the column *shape* both clouds are centred; *mean* is the cost of the mean. A method that is close in *shape*
# and far in *energy* has lost the day, not the biology.
#
# ## Who wins where

# %%
skill = scoreboard.skills(table)
wanted = ["scimf", "scimf_paced", "no_interaction", "attention", "flow_matching", "neural_ode", "potential_sde"]
shown = [method for method in wanted if method in skill.index]
fig, ax = plt.subplots(figsize=(7, 1.4 + 0.3 * skill.shape[1]))
for k, method in enumerate(shown):
    marker, at = "oDoos^v"[k], np.arange(skill.shape[1]) + (k - 3) * 0.11
    colour, label = plots.METHOD_COLOURS[method], plots.METHOD_LABELS[method]
    ax.plot(skill.loc[method].clip(lower=-1), at, marker, ms=4, color=colour, label=label, mec="black", mew=0.3)
ax.axvline(0, color="0.4", lw=0.8)
ax.set(yticks=range(skill.shape[1]), yticklabels=skill.columns, xlim=(-1.05, 1.05), xlabel="skill in energy distance")
ax.set_ylim(skill.shape[1] - 0.5, -0.5)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save_figure(fig, "fig6b_skill_by_board", data=skill)

# %% [markdown]
# **Figure 6b.** Skill: 1 is the floor (real against real), 0 the best prediction *without any model* on that board,
# which is a different one on each; below −1 is drawn at −1. Where every method is left of zero, say so: no model
# was needed there.

# %%
best, rivals = {}, ["no_interaction", "attention", "occupancy", "published", "neural_ode", "potential_sde"]
groups = {"peer": [*rivals, "flow_matching", "schroedinger_bridge"], "no model": list(BASELINES)}
for name, part in table[table["metric"] == "energy_distance"].groupby("board", sort=False):
    part = part.set_index("method")
    ours = part.loc["scimf"]
    best[name] = {"ours": f"{ours['mean']:.4f}"}
    for group, methods in groups.items():
        other = part.loc[part.index.intersection(methods)].nsmallest(1, "mean").iloc[0]
        said = (
            "ours is closer" if ours["hi"] < other["lo"] else "ours is farther" if ours["lo"] > other["hi"] else "tie"
        )
        best[name] |= {f"best {group}": f"{plots.METHOD_LABELS[other.name]} {other['mean']:.4f}", f"vs {group}": said}
standing = pd.DataFrame(best).T.rename_axis("board")
standing

# %% [markdown]
# "Closer" and "farther" where the 95 % intervals do not overlap: over training seeds for what is trained, over draws of
# cells for the rest. Two things can cost us, and both can be seen without a held-out cell: cells kept still where the
# way is real, and a model that crosses at the wrong time. How much of the way has the first choice crossed at the
# held-out time, and how much would constant speed cross?

# %%
rows = {}
for name in [name for name in results if set(results[name]["scores"]["choice"]) == {first}]:
    for data in run.load([BOARDS[name].dataset], each={BOARDS[name].dataset: BOARDS[name].options}).values():
        for setup in scoreboard.setups(BOARDS[name], data):
            held, times = setup.split.held_times[0], np.array(setup.split.train_times)
            if held > times[-1]:
                continue
            start, end = times[times < held][-1], times[times > held][0]
            problem, config = (setup.adata, setup.split, setup.space), {"first": configs["first"]}
            models = fit_bridges(*problem, configs=config, seeds=range(n_seeds), cache=run.fits, device=run.device)
            shares = [way_crossed(fit.forward, start, end, [held])[0] for fit in models.values()]
            rows[name, round(held, 2)] = interval(shares) | {"constant speed": (held - start) / (end - start)}
            run.record({f"{name}.way_crossed_at_{held:.3g}": interval(shares)})
pd.DataFrame(rows).T.rename_axis(["board", "held-out time"]).round(2)

# %% [markdown]
# **Where ours is farther, and why** (of the `paper` run, whose rows this page shows):
#
# - *emt and reprogramming*: few intervals. By the held-out time the first choice has crossed nearly all of the way, or
#   overshot it, where constant speed would be at a third or a half. The fit meets its snapshots; nothing told it when
#   to move. Peers that follow straight transport do not have this trouble, nor does OT interpolation.
# - *cite bridge_plus*: equal parts of all other days, without any model, are closer than everything that learned.
#   What a day adds by itself is best averaged over many days, and our default keeps only a third of the cells still.
#   The second choice, which keeps two thirds, is closer than the first here and farther on the bridges.
# - *typed*: several predictions without a model reach the floor, and OT interpolation lies below it, because it
#   averages the random composition of two snapshots of 50 cells. For populations nobody trained on, the twin without
#   interaction is even closer, though these cells do talk; with 100 cells and longer fits it is farther (notebook 4).
#
# **Where ours is closer but could be closer still**: on the `cytobridge` boards the pace is right, no day is shifted,
# and the third of the cells that is kept still only costs: forward prediction alone is much closer. We leave the
# frozen choice as it is; a rule that reads the pace from the fit is work for later, and needs new held-out data.
#
# ## Is the interaction needed?
#
# Ours and the twin of equal size share cells, seeds, settings and mixing, so the paired difference is the
# interaction's.

# %%
rows = {}
for name, part in scores.items():
    rows[name] = scoreboard.difference(part, "scimf", "no_interaction", unit="seed")
    run.record({f"{name}.difference_to_no_interaction": rows[name]})
twin = pd.DataFrame(rows).T
twin["closer"] = np.where(twin["hi"] < 0, "interacting", np.where(twin["lo"] > 0, "no interaction", "tie"))
twin.round(4)

# %% [markdown]
# A win here is a better *fit of a flexible drift*, not yet evidence that cells talk: one population cannot tell the
# two apart (notebook 5). Nor is a loss evidence that they do not: on `typed` they do.
#
# ## Where is prediction possible?

# %%
kinds = {"energy_distance": "energy distance", "cost_of_mean": "cost of the mean", "centred_energy": "shape alone"}
wide = table[table["method"] == "mixture"].set_index(["board", "metric"])["mean"].unstack()
wide = wide[list(kinds)].loc[[b for b in scores if b in wide.index]]
fig, ax = plt.subplots(figsize=(7, 1.0 + 0.26 * len(wide)))
for k, (metric, label) in enumerate(kinds.items()):
    ax.barh(
        np.arange(len(wide)) + (k - 1) * 0.25, wide[metric].clip(lower=1e-4), 0.25, label=label, color=plots.PALETTE[k]
    )
ax.set(yticks=range(len(wide)), yticklabels=wide.index, xscale="log", xlabel="neighbour mixture (units of the data)")
ax.invert_yaxis()
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
run.save_figure(fig, "fig6c_cost_of_the_mean", data=wide)

# %% [markdown]
# **Figure 6c.** The neighbour mixture on every board with two neighbours, in energy distance, and what its mean and
# its shape cost; what is not above zero is drawn at 10⁻⁴. Where the first two bars are alike the shape is right and
# what is missing is where the day lies as a whole: a shift shared by all cells, which other days do not contain. There,
# a score with the mean in it cannot tell methods apart: our headline is the shape, and boards whose mean costs little.
#
# ## Beside published numbers

# %%
ours = table[table["method"] == "scimf"].set_index(["board", "metric"])["mean"]
large = {name: found["whole"] for name, found in results.items() if len(found["whole"])}
for name, part in large.items():
    by_method = part.assign(seed=part["seed"].fillna(-1)).groupby(["method", "seed"])["w1"].mean()
    for method, values in by_method.groupby("method"):
        run.record({f"{name}.whole.w1.{method}": interval(values) if method in LEARNED else float(values.mean())})
    print(name, by_method.groupby("method").mean().sort_values().round(4).to_dict())
    loo = name.replace(".bridge_plus", "") + ".loo"
    ours[loo, "w1"] = by_method["scimf"].mean()
printed = scoreboard.published_numbers()
printed["ours"] = [round(ours.get((b, m), np.nan), 3) for b, m in zip(printed["board"], printed["metric"], strict=True)]
printed.loc[printed["ours"].isna(), "status"] = "not run"
printed.drop(columns="source").fillna("")

# %%
for name in [name for name in scores if name.endswith(".bridge") and name.startswith("cite")]:
    mean = table[(table["board"] == name) & (table["metric"] == "energy_distance")].set_index("method")
    record = {f"{name}.energy_distance": mean.loc["scimf", ["mean", "lo", "hi", "n_seeds"]].to_dict()}
    for method in ("mixture", "ot_interpolation", "flow_matching", "no_interaction"):
        record[f"{name}.{method}"] = mean.loc[method, ["mean", "lo", "hi", "n_seeds"]].to_dict()
        many = method in ("mixture", "no_interaction")
        gap = scoreboard.difference(results[name]["paired"] if many else scores[name], "scimf", method)
        record[f"{name}.difference.{method}"] = {"mean": gap["mean"], "lo": gap["lo"], "hi": gap["hi"], "n_seeds": 0}
        record[f"{name}.difference.{method}.n_draws"] = gap["n_seeds"]
        print(f"{name}, ours - {method}: {gap['mean']:.3f} [{gap['lo']:.3f}, {gap['hi']:.3f}], {gap['n_seeds']} draws")
    run.record(record)
    claim = f"{name}: below OT interpolation, paired interval over shared subsamples"
    run.expect(claim, record[f"{name}.difference.ot_interpolation"]["hi"] < 0)

# %% [markdown]
# Below zero: ours is closer. The intervals are over random subsamples of the same cells: they speak for these cells,
# not for another experiment. The one to the mixture is printed, not claimed in advance: published methods tie there.
# W1 at full size is farther than others print on `cite50`, `emt` and `cytobridge_attraction`, closer on the forecast.

# %%
if "cite50.bridge_plus" in large:
    part = large["cite50.bridge_plus"]
    for key, method in (("cite50.loo.w1", "scimf_forward"), ("cite50.loo.w1_two_sided", "scimf")):
        run.record({key: interval(part[part["method"] == method].groupby("seed")["w1"].mean())})

# %% [markdown]
# ## Which ingredient matters?
#
# One ingredient is changed at a time, on times held out *inside* the training times: an ablation on the test times
# would be a search on them.

# %%
found = {}
for name in ablated:
    for data in run.load([BOARDS[name].dataset], each={BOARDS[name].dataset: BOARDS[name].options}).values():
        (setup,) = scoreboard.setups(BOARDS[name], data)
        inner = scoreboard.inner_setup(setup, BOARDS[name].n_pcs)
        options = {"cache": run.fits, "device": run.device, "steps": n_steps}
        found[name] = scoreboard.ablate(inner, seeds=range(n_seeds), **options)
for name, part in found.items():
    change = part.div(part["as recommended"], axis=0).T
    for ingredient, values in change.iterrows():
        key = ingredient.replace(" ", "_")
        if values.notna().all() and key != "as_recommended":
            run.record({f"ablation.{name}.{key}": interval(values)})
    print(f"{name}: energy distance, ratio to the recommended configuration by seed (empty: it diverged)")
    print(change.round(3).to_string(na_rep=""))

# %% [markdown]
# Above 1 the change hurts. A row that is empty diverged: the debiased OT loss subtracts the distance between two
# halves of the *prediction*, and with a few hundred cells in twenty dimensions a prediction can lower it by flying
# apart.
#
# ## An outside judge
#
# scTimeBench is somebody else's benchmark with its own harness and metrics. `scimf/judge.py` runs our model under it.
# Two rows answer two questions: `from_t0` simulates every held-out time from the first snapshot, `own_state` moves each
# test cell from its own state, which from the second held-out time on is a held-out cell.

# %%
verdicts = {}
for name in judged:
    board = next(b for b in BOARDS.values() if b.dataset == name)
    for data in run.load([name]).values():
        config = scoreboard.recommended(steps=n_steps)
        verdicts[name] = judge.judge(data, board.setups[0], config=config, seeds=range(n_seeds), n_pcs=board.n_pcs)
for name, verdict in verdicts.items():
    verdict = verdict[verdict["time"].isna()]  # the harness's own mean over held-out times
    for (row, metric), values in verdict.groupby(["row", "metric"])["value"]:
        trained = row in judge.TRAINED
        run.record({f"judge.{name}.{row}.{metric}": interval(values) if trained else float(values.mean())})
    print(verdict.groupby(["row", "metric"])["value"].mean().unstack().round(4).to_string())

# %% [markdown]
# Its Wasserstein score is a squared distance over all genes, which rewards a prediction without the noise of single
# cells: read a row beside `mean_first` (one mean cell, repeated), `copy_first_pcs` (real cells through our
# components) and `oracle_pcs` (the truth through our components). Its leaderboard has neither.
#
# ## Exercise 6.1 · Your method in five lines
#
# Predict time 2 of the small simulation by any means and score it. A prediction is an array or an AnnData with
# `time`.

# %% tags=["solution"]
small = toy[(toy.obs["population"] == "p00").to_numpy()].copy()
split = scimf.hold_out(small, times=[2.0])
space = scimf.fit_space(small, split)
mine = small.obsm["X_scimf"][(small.obs["time"] == 1.0).to_numpy()] + 0.1  # your method; it may use training cells only
result = evaluate(mine, small, split, draws=30).pivot_table(index="method", columns="metric", values="value")
energy = result["energy_distance"]
assert energy["floor"] < energy["copy_previous"] < energy["model"]  # to move all cells by 0.1 was no help
result.sort_values("energy_distance").round(4)

# %% [markdown]
# ## Exercise 6.2 · A metric that can be cheated
#
# Shrink the true cells half-way towards their mean. Which scores call that an improvement over the floor?

# %% tags=["solution"]
truth = small[(small.obs["time"] == 2.0).to_numpy()].obsm["X_scimf"]
shrunk = truth.mean(0) + 0.5 * (truth - truth.mean(0))
cheat = evaluate(shrunk, small, split, draws=20).pivot_table(index="method", columns="metric", values="value")
assert cheat.loc["model", "energy_distance"] > cheat.loc["floor", "energy_distance"]
cheat.loc[["floor", "model"], ["w1", "w2", "energy_distance", "centred_energy"]].round(3)

# %% [markdown]
# ## What you have now
#
# - every method beside its floor and beside predictions without a model, under two protocols that are kept
#   apart;
# - settings that were chosen without held-out cells, and a test that replaces those cells and finds nothing changed;
# - one caveat: on real time courses the day itself (batch, handling) can cost more than everything a model can learn.

# %%
run.finish()
