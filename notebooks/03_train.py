# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3 · Train an interacting neural SDE
#
# **You will** choose a loss between two clouds of cells, fit the model to 24 populations at once with several training
# seeds, with and without interaction, and break a training run on purpose.
#
# **You will learn to**
#
# - compare clouds with an energy distance, and see why the published loss is not our default;
# - write the training loop in ten lines;
# - resume a killed run to the very same weights;
# - tell a diverging fit from a slow one.
#
# **You need** notebook 2 for the model. Notebook 4 reads the fits made here; they are cached by the hash of everything
# that decides them, so running this notebook again takes seconds.
#
# | profile | machine | fits | what you should see |
# | --- | --- | --- | --- |
# | `smoke` | 2 CPU cores | 2 seeds, 8 steps | that it runs |
# | `teach` | 2 CPU cores | 5 seeds × 2 models | the interacting model fits better than its twin of equal size |
# | `paper` | any | 10 seeds × 2 models | the same, with narrower intervals |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch, and the simulation
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
n_populations: int = 24  # simulated populations
n_cells: int = 100  # simulated cells per population and time
n_held_populations: int = 4  # populations kept for notebook 4
n_seeds: int = 5  # training seeds
n_steps: int = 300  # optimiser steps of a fit
loss_seeds: int = 3  # training seeds for the comparison of losses
loss_steps: int = 120  # optimiser steps for the comparison of losses
published_steps: int = 3  # optimiser steps shown of the published configuration

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import scimf
from scimf import plots, start_notebook
from scimf.sde import InteractingSDE, SDEConfig, n_parameters, published, roll_out, widened_twin
from scimf.train import fit, fit_many
from scimf.transport import LOSSES, energy_loss

run = start_notebook("03_train", globals())
run

# %% [markdown]
# The line above says whether a GPU is used. On two CPU cores the fits below run side by side, one thread each.
#
# ## A distance between clouds
#
# Snapshots are unpaired, so a loss can only compare clouds. The **energy distance** needs nothing but distances between
# cells (Székely & Rizzo 2013):
#
# $$
# D(X, Y) = E\lVert X - Y\rVert - \tfrac12 E\lVert X - X'\rVert - \tfrac12 E\lVert Y - Y'\rVert .
# $$
#
# It is zero only if the two laws agree. Estimated without pairing a cell with itself, it is *unbiased*: two samples of
# the same law score zero on average, at any size.

# %%
x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
between = (x - y.T).abs().mean()  # |0-0|, |0-4|, |2-0|, |2-4| -> 2
within_x, within_y = (x[0] - x[1]).abs(), (y[0] - y[1]).abs()  # one pair each: 2 and 4
by_hand = between - within_x / 2 - within_y / 2
torch.testing.assert_close(energy_loss(x[None], y[None]), by_hand, atol=1e-4, rtol=0)
by_hand  # negative: unbiased estimates may be, their mean is not

# %% [markdown]
# ## What a biased loss does
#
# Optimal transport between two *mini-batches* of the same law is not zero: the clouds are sparse, and sparse clouds are
# far apart. A loss with such an offset is not harmless, because the offset depends on the spread of the prediction. We
# compare a standard normal cloud in eight dimensions with predictions of the wrong width, and ask which width each loss
# likes best.

# %%
widths, n_draws, rows = np.linspace(0.5, 1.5, 11), 20, []
generator = run.generator()
for width in widths:
    wide = width * torch.randn(n_draws, 64, 8, generator=generator)
    real = torch.randn(n_draws, 64, 8, generator=generator)
    rows += [(name, width, float(loss(wide, real).mean())) for name, loss in LOSSES.items()]
bias = pd.DataFrame(rows, columns=["loss", "width", "value"])

# %%
fig, panels = plt.subplots(1, 4, figsize=(7, 1.9), sharex=True)
best = {}
for ax, (name, part) in zip(panels, bias.groupby("loss", sort=False), strict=True):
    ax.plot(part["width"], part["value"], "o-", ms=3)
    ax.axvline(1, color="0.6", ls="--", lw=0.8)
    ax.axhline(0, color="0.6", lw=0.8)
    ax.set_title(plots.METHOD_LABELS[name], loc="left")
    ax.set_xlabel("predicted s.d.")
    curve = np.polyfit(part["width"], part["value"], 2)
    best[name] = float(-curve[1] / (2 * curve[0]))
panels[0].set_ylabel("loss (64 cells, 8-D)")
run.save_figure(fig, "fig3a_which_width_a_loss_prefers", data=bias)
run.record({f"preferred_width.{name}": value for name, value in best.items()})
pd.Series(best, name="preferred s.d. (truth: 1)").round(2)

# %% [markdown]
# **Figure 3a.** Loss against the width of the prediction; dashed, the true width. Energy distance and debiased OT are
# close to zero at the truth and smallest near it.
# Raw optimal transport between mini-batches is far from zero there and smallest for clouds that are too narrow. The
# published Sinkhorn divergence shares that bias: at blur 0.1 its debiasing terms, each a cloud against itself, almost
# vanish. (The published code compares with all observed cells instead of 64; how far that lessens it is not tested
# here.)

# %%
run.expect(
    "mini-batch OT prefers a narrower cloud than the truth, energy distance does not",
    best["ot"] < 0.9 and abs(best["energy"] - 1) < 0.1,
)

# %% [markdown]
# ## Training in ten lines
#
# Each interval between two observed times is one task: start from the observed cells, simulate, compare with the next
# observed cells. Here is the loop with nothing but that, on one population of the simulation.

# %%
typed = scimf.load("typed", seed=seed, n_populations=n_populations, n_cells=n_cells)
held = sorted(typed.obs["population"].cat.categories)[n_populations - n_held_populations :]
split = scimf.hold_out(typed, times=[2.0], populations=held)
space = scimf.fit_space(typed, split)
print(f"held out: time {split.held_times[0]:g} everywhere, and {', '.join(held)} altogether")

# %%
one = typed[(typed.obs["population"] == "p00").to_numpy()]
begin, end = (torch.tensor(one.X[(one.obs["time"] == t).to_numpy()])[None] for t in (0.0, 1.0))
sde = InteractingSDE(begin.shape[-1], SDEConfig())
optimiser, losses = torch.optim.Adam(sde.parameters(), lr=3e-3), []
for _ in range(40):
    states, energy = roll_out(sde, begin, torch.tensor([[1.0]]), dt=0.2)
    loss = energy_loss(states[-1], end).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
print(f"energy distance: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last")

# %% [markdown]
# `scimf.fit` is this loop with what a long run needs: many populations and intervals in a batch, a schedule, gradient
# clipping, progress, checkpoints, and an error that names step and term when a number is no longer finite.
#
# ## Which loss recovers the dynamics?
#
# In a simulation we can ask the question that matters: not which loss is small, but which one brings the learned drift
# closest to the true one. Same model, same steps, several seeds; the smaller the better. This takes about two minutes
# in `teach`; read on meanwhile: the published loss, Sinkhorn, is the slow one.

# %%
base = SDEConfig(steps=n_steps, batch_cells=n_cells, target_cells=n_cells)
trial = SDEConfig.from_dict(base.to_dict() | {"steps": loss_steps, "batch_groups": 6})
by_loss = {name: SDEConfig.from_dict(trial.to_dict() | {"loss": name}) for name in LOSSES}
trials = fit_many(typed, split, space, configs=by_loss, seeds=range(loss_seeds), cache=run.fits, device=run.device)

true_own, true_heard = typed.obsm["drift_own"], typed.obsm["drift_heard"]
truth = true_own + true_heard
error = {}
for key, model in trials.items():
    own, heard = model.drift(typed)
    error[key] = float(np.linalg.norm(own + heard - truth) / np.linalg.norm(truth))
drift_error = pd.DataFrame({name: scimf.interval([error[name, s] for s in range(loss_seeds)]) for name in LOSSES}).T
run.record({f"loss.{name}.drift_error": row.to_dict() for name, row in drift_error.iterrows()})
drift_error.round(3)

# %%
fig, ax = plt.subplots(figsize=(3.4, 1.8))
plots.scores(ax, drift_error, xlabel="relative error of the drift (0 = truth)")
run.save_figure(fig, "fig3b_drift_error_by_loss", data=drift_error)

# %% [markdown]
# **Figure 3b.** Relative error of the learned drift after the same number of steps, mean and 95 % interval over
# training seeds. These are short fits, so read the order, not the level.
#
# ## Five seeds, two models of equal size
#
# The question of this repository: is the interaction needed? A fair rival has **the same number of parameters**. The
# twin has no interaction; its own drift is widened until the counts agree within 1 %.

# %%
twin = widened_twin(space.dim, base)
configs = {"scimf": base, "no_interaction": twin}
sizes = {name: n_parameters(InteractingSDE(space.dim, config)) for name, config in configs.items()}
assert abs(sizes["scimf"] - sizes["no_interaction"]) <= 0.01 * sizes["scimf"]
run.record({f"typed.parameters.{name}": size for name, size in sizes.items()})
sizes

# %%
fits = fit_many(typed, split, space, configs=configs, seeds=range(n_seeds), cache=run.fits, device=run.device)
curves = {name: [fits[name, s].history["data"] for s in range(n_seeds)] for name in configs}
fig, ax = plt.subplots(figsize=(3.4, 2.2))
plots.loss_curves(ax, curves, ylabel="energy distance (model units)")
ax.axhline(0, color="0.6", lw=0.8)
ends = {name: np.array([np.mean(run_[-50:]) for run_ in runs]) for name, runs in curves.items()}
run.save_figure(fig, "fig3c_loss_curves", data=pd.DataFrame(ends).rename_axis("seed"))

# %% [markdown]
# **Figure 3c.** Training loss, one line per seed. Both curves have levelled off; the twin levels off higher. Values
# below zero are possible for an unbiased estimate against a fixed set of observed cells: the model has begun to follow
# those very cells. What counts is cells it has not seen, in notebook 4.

# %%
gap = scimf.interval(ends["scimf"] - ends["no_interaction"])
run.record({f"typed.final_loss.{name}": scimf.interval(values) for name, values in ends.items()})
run.record({"typed.final_loss.difference": gap})
run.expect("the interacting model fits the training cells better than its twin (interval below zero)", gap["hi"] < 0)

# %% [markdown]
# ## A killed run loses nothing
#
# The random numbers of step $s$ depend on `(seed, s)` only. So a run that stops and resumes must give the same weights,
# to the bit. We stop one on purpose.

# %%
short = SDEConfig.from_dict(base.to_dict() | {"steps": 210, "batch_groups": 1, "dt": 1.0})
folder = run.build / "interrupted"
for file in folder.glob("*.pt"):
    file.unlink()


def stop(step, terms):
    """Pretend that somebody pulled the plug."""
    if step == 205:
        raise KeyboardInterrupt


try:
    fit(typed, split, space, config=short, cache=folder, device=run.device, on_step=stop)
except KeyboardInterrupt:
    print("stopped at step 205; the last checkpoint is from step 200")

# %%
resumed = fit(typed, split, space, config=short, cache=folder, device=run.device)
whole = fit(typed, split, space, config=short, device=run.device)
same = all(torch.equal(a, b) for a, b in zip(resumed.sde.parameters(), whole.sde.parameters(), strict=True))
run.expect("a resumed run ends with the same weights as an uninterrupted one", same)

# %% [markdown]
# ## The published configuration
#
# `published()` runs on the same road: index time, one roll-out from the first snapshot, debiased Sinkhorn against all
# observed cells, kinetic energy with weight 1, 3,000 steps. A few steps show that it works; the full run wants a GPU.

# %%
paper = fit(typed, split, space, config=published(steps=published_steps), device=run.device)
assert np.isfinite(paper.history["data"]).all() and len(paper.history["data"]) == published_steps
pd.DataFrame(paper.history).round(3)

# %% [markdown]
# ## Exercise 3.1 · Break it
#
# Raise the learning rate until training fails. What does the message say, and after how many steps?

# %% tags=["solution"]
wild = SDEConfig.from_dict(base.to_dict() | {"lr": 1e20, "clip": 1e20, "kinetic_weight": 1.0})
try:
    fit(typed, split, space, config=wild, device=run.device)
    message = ""
except FloatingPointError as failure:
    message = str(failure)
assert message.startswith("step") and "lr" in message
message

# %% [markdown]
# ## Exercise 3.2 · Predict: one population
#
# How does the gap of figure 3c change if the model may see one population only? Guess, then fit both models on `p00`.

# %% tags=["solution"]
alone = typed[(typed.obs["population"] == "p00").to_numpy()].copy()
alone_split = scimf.hold_out(alone, times=[2.0])
brief = {name: SDEConfig.from_dict(c.to_dict() | {"steps": min(100, n_steps)}) for name, c in configs.items()}
lone = {name: fit(alone, alone_split, space, config=c, device=run.device) for name, c in brief.items()}
lone_gap = np.mean(lone["scimf"].history["data"][-20:]) - np.mean(lone["no_interaction"].history["data"][-20:])
print(f"gap with one population {lone_gap:.4f}, with all {gap['mean']:.4f}")
assert np.isfinite(lone_gap)

# %% [markdown]
# ## Exercise 3.3 · Five lines: the third loss by hand
#
# Compute $\tfrac12 W_2^2$ between `x` and `y` above. In one dimension the best plan sorts both sides.

# %% tags=["solution"]
half_squared = ((x.sort(0).values - y.sort(0).values) ** 2 / 2).mean()
torch.testing.assert_close(LOSSES["ot"](x[None], y[None])[0], half_squared, atol=1e-4, rtol=1e-4)
half_squared

# %% [markdown]
# ## What you have now
#
# - a loss whose zero means agreement, chosen on a simulation where the truth is known;
# - fits of two models of equal size with several seeds, cached for notebook 4;
# - one caveat: a better fit to training cells is not yet a better prediction.

# %%
run.finish()
