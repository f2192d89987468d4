# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0 · One picture of everything
#
# **You will** see cells move, see who moves whom, and see a map of it that looks right and is
# wrong. Half a minute to run, ten minutes to read, no equation. Everything here is taken up again:
# the cells in notebook 1, the model in 2 and 3, its test in 4, the map in 5.
#
# **You will learn to**
#
# - tell what a cell does by itself from what other cells do to it;
# - distrust a map of who moves whom until you know which data it was made from.
#
# **You need** nothing. Read the pictures first, the code later or never.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach`, `paper` | 2 CPU cores | two pictures, the second one half wrong |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch, and the simulation
device: str = "cpu"  # "auto", "cpu" or "cuda"
n_populations: int = 12  # simulated populations
n_cells: int = 100  # simulated cells per population and time
n_steps: int = 100  # optimiser steps of the fit

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

import scimf
from beside.panels import predicted_and_observed
from scimf import plots, start_notebook

run = start_notebook("00_picture", globals())
run

# %% [markdown]
# ## Cells move
#
# A cell in a dish changes: it divides its attention between a programme of its own and what its
# neighbours tell it. A measurement destroys the cell, so nobody has ever seen one move. We
# therefore begin with simulated cells, whose motion we know because we made it: five types of cell,
# A to E, in twelve cultures that differ in how many there are of each. At every cell two arrows are
# stored, what it would do alone (**intrinsic**) and what the others add (**interaction**).

# %%
typed = scimf.load("typed", seed=seed, n_populations=n_populations, n_cells=n_cells)
truth = typed.uns["scimf"]["truth"]
even = int(truth["composition"].min(axis=1).argmax())  # the most even mix of types
culture = typed[(typed.obs["population"] == truth["populations"][even]).to_numpy()].copy()
now = culture[(culture.obs["time"] == 0).to_numpy()]
pd.DataFrame(
    {
        "intrinsic": np.linalg.norm(now.obsm["drift_intrinsic"], axis=1),
        "interaction": np.linalg.norm(now.obsm["drift_interaction"], axis=1),
    },
    index=now.obs["cell_type"],
).groupby(level=0, observed=True).mean().round(2)  # how fast, by type

# %% [markdown]
# ## Who moves whom
#
# Which type acts on which is a short list of eight pairs. Some pull a type towards themselves, some
# push it away, and it is not mutual: whom A moves does not move A.

# %%
start = typed.X[(typed.obs["time"] == 0).to_numpy()]
view = PCA(2, random_state=0).fit(start)
xy = view.transform(now.X)
centres = {name: xy[(now.obs["cell_type"] == name).to_numpy()].mean(0) for name in truth["types"]}
matrix = pd.DataFrame(truth["type_matrix"], index=truth["types"], columns=truth["types"])
n_pairs = int((matrix != 0).to_numpy().sum())
PCS = ("PC 1", "PC 2")


# %%
def draw_pairs(ax, strength):
    """Draw the strongest pairs from sender to receiver: blue pulls, orange pushes."""
    grey = {"title": "", "colour": "0.75", "labels": PCS}
    predicted_and_observed(ax, view.transform(start), None, **grey)
    by_pair = strength.unstack().dropna()  # (sender, receiver) -> strength
    for pair in by_pair.abs().nlargest(n_pairs).index:
        colour = plots.PALETTE[0] if by_pair[pair] > 0 else plots.PALETTE[1]
        arrow = {"arrowstyle": "-|>", "connectionstyle": "arc3,rad=0.15", "color": colour}
        arrow["lw"] = 3 * abs(by_pair[pair]) / by_pair.abs().max()
        places = {"xytext": centres[pair[0]], "xy": centres[pair[1]]}
        ax.annotate("", **places, arrowprops={**arrow, "shrinkA": 9, "shrinkB": 9})
    for name, (x, y) in centres.items():
        circle = {"boxstyle": "circle", "fc": "white", "ec": "0.3"}
        ax.text(x, y, name, ha="center", va="center", weight="bold", bbox=circle)


# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
motion = np.vstack([now.obsm["drift_intrinsic"], now.obsm["drift_interaction"]])
colours = ["0.35"] * now.n_obs + [plots.PALETTE[3]] * now.n_obs
style = {"background": view.transform(start), "labels": PCS}
uv = motion @ view.components_.T
plots.arrows(left, np.vstack([xy, xy]), uv, colours=colours, scale=2, **style)
left.set_title("alone (grey) and through others (pink)", loc="left")
draw_pairs(right, matrix)
right.set_title("who moves whom: blue pulls, orange pushes", loc="left")
run.save_figure(fig, "fig0a_cells_move", data=matrix)

# %% [markdown]
# **Figure 0a.** One culture at its first time, over the first cells of all cultures in grey. Left,
# two arrows at every cell. Right, the list of who moves whom, drawn from sender to receiver at the
# places of the types; the thicker, the stronger.
#
# ## A convincing wrong map
#
# Now forget the arrows and keep what a laboratory has: snapshots, and of **one** culture only. We
# train the model on them, a few seconds, and ask it who moves whom.

# %%
split = scimf.hold_out(culture)
space = scimf.fit_space(culture, split)
config = scimf.SDEConfig(steps=n_steps, batch_cells=n_cells, target_cells=n_cells)
options = {"config": config, "cache": run.fits, "device": run.device}
model = scimf.fit(culture, split, space, **options, progress=False)
wrong = scimf.influence(model, culture)  # receivers in rows, senders in columns
misfit = float(np.mean(model.history["data"][-20:]))
print(f"distance between simulated and observed cells: {misfit:.3f} (0: none)")

# %%
fig, panels = plt.subplots(1, 2, figsize=(7, 3.2))
titles = {"the truth": matrix, "what a model of one culture says": wrong}
for ax, (title, strength) in zip(panels, titles.items(), strict=True):
    draw_pairs(ax, strength)
    ax.set_title(title, loc="left")
run.save_figure(fig, "fig0b_a_wrong_map", data={"truth": matrix, "one_culture": wrong})

# %% [markdown]
# **Figure 0b.** Left, the truth of figure 0a once more. Right, the eight strongest pairs that the
# model learned. It meets the snapshots, its map is as clear as the truth, and it is **wrong**.
#
# Why? In one culture everything that acts on a cell comes together: the other cells, the clock, its
# own programme. Many different maps lead to the same snapshots, and the model draws one of them.
# Only cultures of different composition tell them apart; notebook 5 reads the right map from them.
# So the first question is never *what does the map say?* but *could these data tell?*

# %%
known = np.isfinite(wrong.to_numpy())  # not the diagonal
correlation = float(np.corrcoef(matrix.to_numpy()[known], wrong.to_numpy()[known])[0, 1])
run.record({"picture.misfit": misfit, "picture.wrong_map.correlation": correlation})
run.expect("the model of one culture meets the snapshots it was trained on", misfit < 0.01)
run.expect("its map hardly follows the truth (correlation below 0.5)", correlation < 0.5)

# %% [markdown]
# ## Exercise 0.1 · Predict
#
# Eight of the twenty pairs act. Whoever draws eight pairs blindly, and a coin for pull or push,
# gets one or two arrows right. How many of the eight in the wrong map are right, in place and in
# direction? Guess from figure 0b, then count.

# %% tags=["solution"]
says = wrong.unstack().dropna()
drawn = says.abs().nlargest(n_pairs).index
correct = int((np.sign(says[drawn]) == np.sign(matrix.unstack().reindex(drawn))).sum())
print(f"{correct} of {n_pairs} arrows are right")
assert correct < n_pairs

# %% [markdown]
# ## What you have now
#
# - the two kinds of motion that this repository tells apart;
# - a wrong map to be reminded of by the next pretty one;
# - one question to ask of any such map: from how many different populations was it made?

# %%
run.finish()
