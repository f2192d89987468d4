# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 · A cell that listens
#
# **You will** build the model from its equations on a handful of cells: what a cell does by itself,
# what it receives from all others, and noise, and see `scimf` give the same numbers.
#
# **You will learn to**
#
# - write cell-wise attention with a masked diagonal, and say what it cannot see;
# - write a message as an exact sum over senders;
# - take one Euler–Maruyama step, and count steps without losing one;
# - tell the paper's configuration from the recommended one.
#
# **You need** `torch.nn.Module` and notebook 1 for the idea of a snapshot. Each section stands
# alone.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | every assertion holds |
# | `teach`, `paper` | 2 CPU cores | the same, and the closed form with more particles |
#
# With $\mu_t$ the law of the population at time $t$, the model is a McKean–Vlasov equation (arXiv
# 2505.16492):
#
# $$
# \mathrm{d}X_t = \bigl[f_\text{intrinsic}(X_t) + f_\text{interaction}(X_t, \mu_t)\bigr]
#   \,\mathrm{d}t + \sigma(X_t)\,\mathrm{d}W_t .
# $$
#
# $f_\text{intrinsic}$, $f_\text{interaction}$ and $\sigma$ are `intrinsic`, `interaction` and
# `diffusion` of `InteractingSDE`. They live in `scimf/dynamics/model.py`; the interaction is
# `CellAttention` or `AdditiveInteraction` of `scimf/dynamics/interactions.py`. Both are written
# from these equations.

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "cpu"  # "auto", "cpu" or "cuda"
n_particles: int = 20_000  # cells in the check against the closed form

# %%
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torchsde
from torch import nn
from torch.nn.utils import parameters_to_vector

from beside.maps import pair_matrix
from beside.moments import linear_moments
from scimf import start_notebook
from scimf.dynamics import interactions, model
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.integrate import roll_out

run = start_notebook("02_model", globals())
run

# %% [markdown]
# Random numbers come from `run.generator(k)`: the same stream $k$ starts anew at each call, and
# what has to be independent is drawn from different streams.
#
# ## What a cell does by itself
#
# A small network maps a state to a direction. Time is not an input: the same state always does the
# same. That is an assumption, and the one that lets an interaction be told from a clock at all.

# %%
sde = model.InteractingSDE(dim=4, config=SDEConfig()).eval()
x = torch.randn(1, 5, 4, generator=run.generator())  # (populations, cells, dim)
intrinsic = sde.intrinsic_drift(x)
# alone or among others: the intrinsic drift is the same
torch.testing.assert_close(intrinsic[0, 2], sde.intrinsic_drift(x[:, 2:3])[0, 0])
intrinsic.shape

# %% [markdown]
# ## Attention, written out
#
# With $u = \mathrm{LN}_1(x)$ for queries and keys and another layer norm for values, in each head
#
# $$
# a_{ij} = \operatorname*{softmax}_{j \neq i}
#   \frac{\langle u_i W^Q, u_j W^K\rangle}{\sqrt{d_k}}, \qquad
# o_i = \sum_j a_{ij}\, \mathrm{LN}_V(x_j) W^V, \qquad
# f_\text{interaction}(x_i) = W_2\,\mathrm{LeakyReLU}(W_1\,\mathrm{LN}_2(o_i) + b_1) + b_2 .
# $$
#
# Row $i$ is the receiver, column $j$ the sender. There is no residual connection and no output
# projection, so this is not a standard Transformer layer. A cell does not listen to itself. (`mlp`
# is linear layers with an activation between them.)


# %%
class CellAttention(nn.Module):
    def __init__(self, dim, heads=2):
        super().__init__()
        self.heads = heads
        self.norm_qk = nn.LayerNorm(dim)
        self.norm_v = nn.LayerNorm(dim)
        self.norm_out = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.feed_forward = interactions.mlp([dim, 4 * dim, dim], "leaky_relu")

    def split(self, u):  # (populations, cells, dim) -> (populations, heads, cells, d_k)
        return u.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x):  # (populations, cells, dim), as the message it returns
        u = self.norm_qk(x)
        query = self.split(self.query(u))
        key = self.split(self.key(u))
        value = self.split(self.value(self.norm_v(x)))
        score = query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5  # (.., receiver, sender)
        oneself = torch.eye(x.shape[1], dtype=torch.bool)
        mixed = score.masked_fill(oneself, -torch.inf).softmax(-1) @ value
        return self.feed_forward(self.norm_out(mixed.transpose(1, 2).flatten(-2)))


# %% [markdown]
# `scimf` has a class of the same name and the same parameters. Give ours its weights: the two
# agree. The module's is the fast version of what you just read; it also knows padding, several
# populations in a batch and many thousand cells.

# %%
layer = interactions.CellAttention(dim=4, heads=2, dropout=0.0)
by_hand = CellAttention(dim=4, heads=2)
by_hand.load_state_dict(layer.state_dict())  # strict: every name and every shape agrees
torch.testing.assert_close(by_hand(x), layer(x))
weights = layer.weights(x)  # (populations, heads, receiver, sender)
torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 5))
assert weights.diagonal(dim1=-2, dim2=-1).max() == 0

# %% [markdown]
# Look at the weights before any training. They are already asymmetric: queries and keys are
# different projections, and a softmax normalises rows, not columns. **Asymmetry of an attention map
# is therefore no finding** until it is compared with a network that has learned nothing. Notebook 5
# does that.

# %%
first_head = pd.DataFrame(weights[0, 0].detach().numpy())
difference = np.linalg.norm(first_head - first_head.T)
asymmetry = float(difference / np.linalg.norm(first_head + first_head.T))
fig, ax = plt.subplots()
pair_matrix(ax, first_head, label="attention weight", signed=False)
run.save_figure(fig, "fig2a_attention_of_five_cells", data=first_head)
run.record({"attention.untrained_asymmetry": asymmetry})
run.expect("an untrained attention map is asymmetric", asymmetry > 0)

# %% [markdown]
# **Figure 2a.** Who listens to whom among five random cells, untrained, head 1. Rows sum to one,
# the diagonal is zero.
#
# ## What this attention cannot see
#
# Every path begins with a layer norm over the coordinates of a cell. So multiplying all states by a
# constant, or adding one, changes nothing; and since the softmax divides by itself, neither does
# the number of cells: twice the population, the same message. Crowding is invisible to it.

# %%
twice = torch.cat([x, x], dim=1)  # every cell has a twin: twice the density
with torch.no_grad():
    torch.testing.assert_close(layer(3 * x + 2), layer(x), atol=1e-4, rtol=1e-3)
    change = (layer(twice)[:, :5] - layer(x)).abs().max()
print(f"scale and shift: no change; doubled population: {change:.2f}")
# that is not exactly zero: a cell now receives from its own twin, too

# %% [markdown]
# ## Messages that add up
#
# The second form keeps each sender's part separate. The receiver decides the direction, $q_r(x_i)
# \in \mathbb{R}^d$, the sender how much it says, $v_r(x_j) \in \mathbb{R}$, and the density $s$
# multiplies the sum:
#
# $$
# f_\text{interaction}(x_i) = s \sum_{r=1}^{R} q_r(x_i)\, \frac{1}{N-1} \sum_{j \ne i} v_r(x_j) .
# $$
#
# It resembles biology more than a softmax does: a sender secretes $R$ signals, the receiver's
# receptors decide what they do. Sums over $j$ are shared by all receivers, so the cost grows with
# $N$, not $N^2$.

# %%
additive = interactions.AdditiveInteraction(dim=4, rank=3)
receive = additive.receive(x).unflatten(-1, (3, 4))[0]  # (cells, R, dim)
send = additive.send(x)[0]  # (cells, R)
message = torch.zeros(5, 4)
for i in range(5):
    for j in range(5):
        if j != i:  # what i receives from j
            message[i] += (receive[i] * send[j][:, None]).sum(0) / 4
torch.testing.assert_close(message, additive(x)[0])
message.detach().round(decimals=3)

# %% [markdown]
# Unlike attention it feels crowding. And because messages add up, we may ask what one sender does.
# *Silencing* a cell sets what it says to zero and keeps the normaliser: it is not the same as
# removing it, which would also make all the others louder.

# %%
torch.testing.assert_close(additive(x, density=torch.tensor([2.0])), 2 * additive(x))
parts = additive.contributions(x)  # (populations, receiver, sender, dim)
sender_weight = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0]])  # cell 2 is silent
silenced = additive(x, sender_weight=sender_weight)
torch.testing.assert_close(additive(x) - silenced, parts[:, :, 2], atol=1e-6, rtol=1e-4)
removed = additive(x[:, [0, 1, 3, 4]])
print("cell 0 receives, cell 2 silenced:", silenced[0, 0].detach().numpy().round(3))
print("cell 0 receives, cell 2 removed :", removed[0, 0].detach().numpy().round(3))
# removed: the rest is 4/3 as loud

# %% [markdown]
# ## Populations do not hear each other
#
# Several populations are trained in one batch, padded to the same size. A mask keeps padding silent
# and each population to itself. This is what makes an interaction identifiable: the same kind of
# cell among different others.

# %%
small = torch.randn(1, 3, 4, generator=run.generator(1))
padded = nn.functional.pad(small, (0, 0, 0, 2), value=99.0)
batch = torch.cat([padded, x])
mask = torch.tensor([[True, True, True, False, False], [True, True, True, True, True]])
for interaction in (layer, additive):
    together = interaction(batch, mask)
    torch.testing.assert_close(together[:1, :3], interaction(small), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1:], interaction(x), atol=1e-5, rtol=1e-4)
    assert interaction(x[:, :1]).abs().max() == 0  # a population of one receives nothing

# %% [markdown]
# ## The equation, written out
#
# Two functions and a number make the model: an intrinsic drift, an interaction, and the amplitude
# of the noise.


# %%
class InteractingSDE(nn.Module):
    """dX = [intrinsic(X) + interaction(X, mu)] dt + sigma dW of (populations, cells, dim)."""

    def __init__(self, intrinsic, interaction, sigma):
        super().__init__()
        self.intrinsic = intrinsic
        self.interaction = interaction
        self.sigma = sigma

    def drift(self, x, mask=None, density=None):  # neither padding nor densities here
        return self.intrinsic(x) + self.interaction(x)

    def diffusion(self, x):
        return torch.full_like(x, self.sigma)


# %% [markdown]
# The published model has two hidden layers of 256 in the intrinsic drift and one block of
# attention. Again ours takes the module's weights, and again the two agree.

# %%
published = model.InteractingSDE(4, SDEConfig.paper()).eval()
network = interactions.mlp([4, 256, 256, 4], "leaky_relu")
by_hand = InteractingSDE(network, CellAttention(4), sigma=0.1)
by_hand.intrinsic.load_state_dict(published.intrinsic.net.state_dict())
by_hand.interaction.load_state_dict(published.interaction[0].state_dict())
torch.testing.assert_close(by_hand.drift(x), published.drift(x))
torch.testing.assert_close(by_hand.diffusion(x), published.diffusion(x))
ours, theirs = (parameters_to_vector(each.parameters()) for each in (by_hand, published))
assert ours.shape == theirs.shape

# %% [markdown]
# ## One step in time
#
# Euler–Maruyama: $x \leftarrow x + f(x, \mu)\,h + \sigma \sqrt{h}\,\xi$ with $\xi \sim N(0, I)$.
# `roll_out` is that line in a loop, so that a step costs little more than the drift.

# %%
h = 0.1
with torch.no_grad():
    noise = torch.randn(x.shape, generator=run.generator(2))
    step_by_hand = x + by_hand.drift(x) * h + by_hand.sigma * h**0.5 * noise
    gaps = torch.tensor([[h]])  # (intervals, populations)
    states, energy, *_ = roll_out(published, x, gaps, dt=h, generator=run.generator(2))
torch.testing.assert_close(states[0], step_by_hand)

# %% [markdown]
# It counts steps in integers. In floats, thirty steps of 0.1 become 31, because 0.1 is not a binary
# fraction and the sum falls just short of 3.

# %%
counted = 0
t = torch.tensor(0.0)
while t < 3:
    t = t + torch.tensor(0.1)
    counted = counted + 1
print(f"adding 0.1 in float32 until 3: {counted} steps; counting integers: {round(3 / h)}")
assert counted == 31 and round(3 / h) == 30

# %% [markdown]
# torchsde, the library for such equations, takes the same step from the same noise. It asks for
# drift `f` and noise `g` of a table of cells.

# %%
for_torchsde = SimpleNamespace(
    noise_type="diagonal",
    sde_type="ito",
    f=lambda t, cells: by_hand.drift(cells[None])[0],
    g=lambda t, cells: by_hand.diffusion(cells),
)
motion = torchsde.BrownianInterval(t0=0.0, t1=1.0, size=x[0].shape, entropy=seed)
times = torch.tensor([0.0, h])
with torch.no_grad():
    theirs = torchsde.sdeint(for_torchsde, x[0], times, bm=motion, dt=h, method="euler")
    ours = x[0] + by_hand.drift(x)[0] * h + by_hand.sigma * motion(*times)
torch.testing.assert_close(theirs[-1], ours)

# %% [markdown]
# `roll_out` also adds up a number for each cell, the kinetic energy $\dot e = \lVert f \rVert^2$,
# which the paper adds to its loss: among all motions that meet the snapshots, prefer the least
# effort.

# %%
with torch.no_grad():
    torch.testing.assert_close(energy[0], by_hand.drift(x).square().sum(-1) * h)
energy.round(decimals=4)

# %% [markdown]
# ## Does the integrator do what the mathematics says?
#
# Linear attraction again, now integrated by the very function that trains the model. Three
# populations of particles start equally; only the attraction $\kappa$ differs. The mean does not
# care, the spread does.

# %%
kappa = torch.tensor([0.0, 0.5, 2.0])  # one for each of three populations
attraction = InteractingSDE(
    intrinsic=lambda x: -0.3 * x,
    interaction=lambda x: kappa[:, None, None] * (x.mean(1, keepdim=True) - x),
    sigma=0.3,
)
begin = 2 + 0.8 * torch.randn(1, n_particles, 1, generator=run.generator(3))
gaps = torch.full((12, 3), 0.25)  # (intervals, populations)
start = begin.expand(3, -1, -1)
path, *_ = roll_out(attraction, start, gaps, dt=0.01, generator=run.generator(4))
path.shape  # (intervals, populations, cells, dim)

# %%
known = {"mean": begin.mean(1).numpy().ravel(), "variance": float(begin.var())}
rows = []
for k, strength in enumerate(kappa.tolist()):
    for time, cloud in zip(gaps[:, 0].cumsum(0).tolist(), path[:, k], strict=True):
        mean, variance = linear_moments(time, **known, theta=0.3, kappa=strength, sigma=0.3)
        found = (float(cloud.mean()), float(cloud.var()))
        rows.append((strength, time, *found, float(mean[0]), variance))
columns = ["kappa", "time", "mean", "variance", "exact_mean", "exact_variance"]
moments = pd.DataFrame(rows, columns=columns)

# %%
fig, panels = plt.subplots(1, 2, figsize=(7, 2.4))
for ax, moment in zip(panels, ("mean", "variance"), strict=True):
    for k, (strength, part) in enumerate(moments.groupby("kappa")):
        label = f"$\\kappa$ = {strength:g}"
        ax.plot(part["time"], part[f"exact_{moment}"], color=f"C{k}", label=label)
        ax.plot(part["time"], part[moment], "o", ms=3, color=f"C{k}")
    ax.set(xlabel="time (a.u.)", ylabel=moment, ylim=(0, None))
panels[1].legend()
run.save_figure(fig, "fig2b_integrator_against_closed_form", data=moments)

# %% [markdown]
# **Figure 2b.** Dots: `roll_out`. Lines: closed form. Three strengths of attraction share one mean.

# %%
worst = float(np.abs(moments["variance"] / moments["exact_variance"] - 1).max())
run.record({"integrator.worst_relative_variance_error": worst})
run.record({"integrator.n_particles": n_particles})
run.expect("the integrator meets the exact variance within 5 %", worst < 0.05)

# %% [markdown]
# ## Two configurations by name
#
# `SDEConfig.paper()` is what the authors' code says, as far as it says it; two settings stay
# *undecided by the source*: the weight $\lambda$ of the data term (1, or 0.5 as a folder name
# suggests) and which checkpoint was evaluated (we keep the last step). `SDEConfig()` is what we
# recommend; notebooks 3 to 5 show why.

# %%
paper = model.InteractingSDE(50, SDEConfig.paper())
sizes = {}
for part, module in {"own": paper.intrinsic, "heard": paper.interaction, "all": paper}.items():
    sizes[part] = parameters_to_vector(module.parameters()).numel()
    run.record({f"published.parameters.{part}": sizes[part]})
assert sizes == {"own": 91_698, "heard": 28_050, "all": 119_748}
both = pd.DataFrame(
    {"published": SDEConfig.paper().to_dict(), "recommended": SDEConfig().to_dict()}
)
both[both["published"].astype(str) != both["recommended"].astype(str)]

# %% [markdown]
# ## Exercise 2.1 · Predict
#
# Two populations hold the same hundred cells, but one is twice as dense. Which interaction gives
# them different drifts?

# %% tags=["solution"]
densities = torch.tensor([1.0, 2.0])
same = x.expand(2, -1, -1)
assert torch.allclose(*layer(same, density=densities))  # attention: no difference
assert not torch.allclose(*additive(same, density=densities))

# %% [markdown]
# ## Exercise 2.2 · Change the order
#
# Shuffle the cells of `x`. What must happen to the drift, and does it, for both interactions?

# %% tags=["solution"]
order = torch.tensor([3, 0, 4, 1, 2])
for interaction in (layer, additive):
    shuffled = interaction(x[:, order])
    torch.testing.assert_close(interaction(x)[:, order], shuffled, atol=1e-6, rtol=1e-4)

# %% [markdown]
# ## Exercise 2.3 · Five lines: who is loudest?
#
# Use `parts` to find, for each receiver, the sender whose contribution is longest.

# %% tags=["solution"]
length = parts[0].norm(dim=-1)  # (receiver, sender)
loudest = length.argmax(dim=1)
assert (loudest != torch.arange(5)).all()  # nobody receives from itself
loudest

# %% [markdown]
# ## What you have now
#
# - both interactions and the equation, written out by hand and equal to the module;
# - an integrator that meets a closed form;
# - one caveat: an attention map is asymmetric before it has learned anything.

# %%
run.finish()
