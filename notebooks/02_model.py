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
# **You will** build the model from its equations on a handful of cells: what a cell does by itself, what it hears from
# all others, and noise, and see `scimf` give the same numbers.
#
# **You will learn to**
#
# - write cell-wise attention with a masked diagonal, and say what it cannot see;
# - write a message as an exact sum over senders;
# - take one Euler–Maruyama step, and count steps without losing one;
# - tell the paper's configuration from the recommended one.
#
# **You need** `torch.nn.Module` and notebook 1 for the idea of a snapshot. Each section stands alone.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke`, `teach`, `paper` | 2 CPU cores | every assertion holds; they differ in the number of particles only |
#
# With $\mu_t$ the law of the population at time $t$, the model is a McKean–Vlasov equation (sections 1.2 to 1.4 of the
# notes on scIMF; arXiv 2505.16492):
#
# $$
# \mathrm{d}X_t = \bigl[f_\text{own}(X_t) + f_\text{heard}(X_t, \mu_t)\bigr]\,\mathrm{d}t + \sigma(X_t)\,\mathrm{d}W_t .
# $$
#
# $f_\text{own}$ is `IntrinsicDrift`, $f_\text{heard}$ is `CellAttention` or `AdditiveInteraction`, $\sigma$ is
# `Diffusion`. All of them live in `scimf/sde.py`. The published code gives equations, not prose; everything here is
# written from those equations.

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "cpu"  # "auto", "cpu" or "cuda"
n_particles: int = 2000  # cells in the check against the closed form

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torchsde

from scimf import plots, start_notebook
from scimf.sde import AdditiveInteraction, CellAttention, InteractingSDE, SDEConfig, n_parameters, published, roll_out
from scimf.simulate import linear_moments

run = start_notebook("02_model", globals())
run

# %% [markdown]
# ## What a cell does by itself
#
# A small network maps a state to a direction. Time is not an input: the same state always does the same. That is an
# assumption, and the one that lets an interaction be told from a clock at all.

# %%
config = SDEConfig()
sde = InteractingSDE(dim=4, config=config).eval()
x = torch.randn(1, 5, 4, generator=run.generator())  # (populations, cells, dimensions)
own = sde.own(x)
torch.testing.assert_close(own[0, 2], sde.own(x[:, 2:3])[0, 0])  # alone or in company: the own part is the same
own.shape

# %% [markdown]
# ## One attention step by hand
#
# Five cells, two heads. With $u = \mathrm{LN}_1(x)$ for queries and keys and another layer norm for values,
#
# $$
# a_{ij} = \operatorname*{softmax}_{j \neq i} \frac{\langle u_i W^Q, u_j W^K\rangle}{\sqrt{d_k}}, \qquad
# o_i = \sum_j a_{ij}\, \mathrm{LN}_V(x_j) W^V, \qquad
# f_\text{heard}(x_i) = W_2\,\mathrm{LeakyReLU}(W_1\,\mathrm{LN}_2(o_i) + b_1) + b_2 .
# $$
#
# Row $i$ is the receiver, column $j$ the sender. There is no residual connection and no output projection, so this is
# not a standard Transformer layer. A cell does not listen to itself.

# %%
layer = CellAttention(dim=4, heads=2, dropout=0.0)
query, key, value = layer.project(x)  # (populations, heads, cells, d_k)
score = query @ key.transpose(-1, -2) / 2**0.5
weights = score.masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf).softmax(-1)
mixed = (weights @ value).transpose(1, 2).flatten(-2)  # heads side by side again
torch.testing.assert_close(layer.feed_forward(layer.norm_out(mixed)), layer(x))  # the module agrees
torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 5))
assert weights.diagonal(dim1=-2, dim2=-1).max() == 0

# %% [markdown]
# Look at the weights before any training. They are already asymmetric: queries and keys are different projections, and
# a softmax normalises rows, not columns. **Asymmetry of an attention map is therefore no finding** until it is compared
# with a network that has learned nothing. Notebook 5 does that.

# %%
first_head = pd.DataFrame(weights[0, 0].detach().numpy())
asymmetry = float(np.linalg.norm(first_head - first_head.T) / np.linalg.norm(first_head + first_head.T))
fig, ax = plt.subplots()
plots.pair_matrix(ax, first_head, label="attention weight", signed=False)
run.save_figure(fig, "fig2a_attention_of_five_cells", data=first_head)
run.record({"attention.untrained_asymmetry": asymmetry})
run.expect("an untrained attention map is asymmetric", asymmetry > 0)

# %% [markdown]
# **Figure 2a.** Who listens to whom among five random cells, untrained, head 1. Rows sum to one, the diagonal is zero.
#
# ## What this attention cannot see
#
# Every path begins with a layer norm over the coordinates of a cell. So multiplying all states by a constant, or adding
# one, changes nothing; and since the softmax divides by itself, neither does the number of cells: twice the population,
# the same message. Crowding is invisible to it.

# %%
twice = torch.cat([x, x], dim=1)  # every cell has a twin: twice the density
with torch.no_grad():
    torch.testing.assert_close(layer(3 * x + 2), layer(x), atol=1e-4, rtol=1e-3)
    change = (layer(twice)[:, :5] - layer(x)).abs().max()  # not exactly zero: a cell now hears its own twin
print(f"scale and shift: no change; doubled population: {change:.2f}")

# %% [markdown]
# ## Messages that add up
#
# The second form keeps each sender's part separate. The receiver decides the direction, $q_r(x_i) \in \mathbb{R}^d$,
# the sender how much it says, $v_r(x_j) \in \mathbb{R}$, and the density $s$ multiplies the sum:
#
# $$
# f_\text{heard}(x_i) = s \sum_{r=1}^{R} q_r(x_i)\, \frac{1}{N-1} \sum_{j \ne i} v_r(x_j) .
# $$
#
# It resembles biology more than a softmax does: a sender secretes $R$ signals, the receiver's receptors decide what
# they do. Sums over $j$ are shared by all receivers, so the cost grows with $N$, not $N^2$.

# %%
additive = AdditiveInteraction(dim=4, rank=3)
receive, send = additive.receive(x).unflatten(-1, (3, 4)), additive.send(x)  # (1, cells, R, dim), (1, cells, R)
message = torch.zeros(5, 4)
for i in range(5):
    for j in set(range(5)) - {i}:
        message[i] += (receive[0, i] * send[0, j][:, None]).sum(0) / 4  # what i hears from j
torch.testing.assert_close(message, additive(x)[0])
torch.testing.assert_close(additive(x, density=torch.tensor([2.0])), 2 * additive(x))  # it feels crowding
message.detach().round(decimals=3)

# %% [markdown]
# Because messages add up, we may ask what one sender does. *Silencing* a cell sets what it says to zero and keeps the
# normaliser: it is not the same as removing it, which would also make all the others louder.

# %%
parts = additive.contributions(x)  # (populations, receiver, sender, dim)
speak = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0]])  # cell 2 is silent
torch.testing.assert_close(additive(x) - additive(x, speak=speak), parts[:, :, 2], atol=1e-6, rtol=1e-4)
silenced, removed = additive(x, speak=speak)[0, 0], additive(x[:, [0, 1, 3, 4]])[0, 0]
print("cell 0 hears, cell 2 silenced:", silenced.detach().numpy().round(3))
print("cell 0 hears, cell 2 removed :", removed.detach().numpy().round(3), "(the rest is 4/3 as loud)")

# %% [markdown]
# ## Populations do not hear each other
#
# Several populations are trained in one batch, padded to the same size. A mask keeps padding silent and each population
# to itself. This is what makes an interaction identifiable: the same kind of cell in different company.

# %%
small, large = torch.randn(1, 3, 4, generator=run.generator()), x
batch = torch.cat([torch.nn.functional.pad(small, (0, 0, 0, 2), value=99.0), large])
mask = torch.tensor([[True, True, True, False, False], [True] * 5])
for interaction in (layer, additive):
    together = interaction(batch, mask)
    torch.testing.assert_close(together[:1, :3], interaction(small), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1:], interaction(large), atol=1e-5, rtol=1e-4)
    assert interaction(x[:, :1]).abs().max() == 0  # a population of one hears nothing

# %% [markdown]
# ## One step in time
#
# Euler–Maruyama: $x \leftarrow x + f(x, \mu)\,h + \sigma \sqrt{h}\,\xi$ with $\xi \sim N(0, I)$. torchsde, the library
# for such equations, takes the same step from the same noise. `roll_out` is that line in a loop, so that a step costs
# little more than the drift, and it counts steps in integers: in floats eleven units at 0.1 become 111 steps, because
# 0.1 is not a binary fraction.

# %%
by_float, t = 0, torch.tensor(0.0)
while t < 11:
    t, by_float = t + torch.tensor(0.1), by_float + 1
print(f"adding 0.1 in float32 until 11: {by_float} steps; counting integers: {round(11 / 0.1)}")

h = 0.1
with torch.no_grad():
    noise = torch.randn(x.shape, generator=run.generator())
    step_by_hand = x + sde.drift(x) * h + config.sigma * h**0.5 * noise
    states, energy = roll_out(sde, x, torch.tensor([[h]]), dt=h, generator=run.generator())
torch.testing.assert_close(states[0], step_by_hand)


# %%
class ForTorchsde(torch.nn.Module):
    """The same equation in the form torchsde asks for: drift and noise of a table of cells."""

    noise_type, sde_type = "diagonal", "ito"

    def f(self, t, cells):
        return sde.drift(cells[None])[0]

    def g(self, t, cells):
        return torch.full_like(cells, config.sigma)


motion = torchsde.BrownianInterval(t0=0.0, t1=1.0, size=x[0].shape, entropy=seed)
with torch.no_grad():
    theirs = torchsde.sdeint(ForTorchsde(), x[0], torch.tensor([0.0, h]), bm=motion, dt=h, method="euler")[-1]
    ours = x[0] + sde.drift(x)[0] * h + config.sigma * motion(0.0, h)
torch.testing.assert_close(theirs, ours)

# %% [markdown]
# `roll_out` also adds up a number for each cell, the kinetic energy $\dot e = \lVert f \rVert^2$, which the paper adds
# to its loss (1.5 and 1.6 of the notes): among all motions that meet the snapshots, prefer the least effort.

# %%
with torch.no_grad():
    torch.testing.assert_close(energy[0], sde.drift(x).square().sum(-1) * h)
energy.round(decimals=4)

# %% [markdown]
# ## Does the integrator do what the mathematics says?
#
# Linear attraction again, now integrated by the very function that trains the model. Three populations of particles
# start equally; only the attraction $\kappa$ differs. The mean does not care, the spread does.


# %%
class LinearAttraction(torch.nn.Module):
    """dx = [-theta x + kappa (mean - x)] dt + sigma dW, in the form roll_out expects."""

    def __init__(self, theta, kappa, sigma):
        super().__init__()
        self.theta, self.kappa, self.sigma = theta, kappa, sigma

    def drift(self, x, mask=None, density=None):
        return -self.theta * x + self.kappa * (x.mean(1, keepdim=True) - x)

    def diffusion(self, x):
        return torch.full_like(x, self.sigma)


# %%
times, begin = np.linspace(0, 3, 13), 2 + 0.8 * torch.randn(1, n_particles, 1, generator=run.generator())
known = {"mean": begin.mean(1).numpy().ravel(), "variance": float(begin.var())}
rows = []
for kappa in (0.0, 0.5, 2.0):
    gaps = torch.full((len(times) - 1, 1), float(times[1]))
    path, _ = roll_out(LinearAttraction(0.3, kappa, 0.3), begin, gaps, dt=0.01, generator=run.generator())
    for t, cloud in zip(times[1:], path[:, 0], strict=True):
        mean, variance = linear_moments(t, **known, theta=0.3, kappa=kappa, sigma=0.3)
        rows.append((kappa, t, float(cloud.mean()), float(cloud.var()), float(mean[0]), variance))
moments = pd.DataFrame(rows, columns=["kappa", "time", "mean", "variance", "exact_mean", "exact_variance"])

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.4))
for k, (kappa, part) in enumerate(moments.groupby("kappa")):
    left.plot(part["time"], part["exact_mean"], color=f"C{k}")
    right.plot(part["time"], part["exact_variance"], color=f"C{k}", label=f"$\\kappa$ = {kappa:g}")
    left.plot(part["time"], part["mean"], "o", ms=3, color=f"C{k}")
    right.plot(part["time"], part["variance"], "o", ms=3, color=f"C{k}")
left.set(xlabel="time (a.u.)", ylabel="mean", ylim=(0, None))
right.set(xlabel="time (a.u.)", ylabel="variance", ylim=(0, None))
right.legend()
run.save_figure(fig, "fig2b_integrator_against_closed_form", data=moments)

# %% [markdown]
# **Figure 2b.** Dots: `roll_out`. Lines: closed form. Three strengths of attraction share one mean.

# %%
worst = float(np.abs(moments["variance"] / moments["exact_variance"] - 1).max())
run.record({"integrator.worst_relative_variance_error": worst, "integrator.n_particles": n_particles})
run.expect("the integrator meets the exact variance within 15 %", worst < 0.15)

# %% [markdown]
# ## Two configurations by name
#
# `published()` is what the authors' code says, as far as it says it; two settings stay *undecided by the source*: the
# weight $\lambda$ of the data term (1, or 0.5 as a folder name suggests) and which checkpoint was evaluated (we keep
# the last step). `SDEConfig()` is what we recommend; notebooks 3 to 5 show why.

# %%
paper = InteractingSDE(50, published())
counts = {"own": n_parameters(paper.intrinsic), "heard": n_parameters(paper.interaction), "all": n_parameters(paper)}
assert counts == {"own": 91_698, "heard": 28_050, "all": 119_748}
run.record({f"published.parameters.{key}": value for key, value in counts.items()})
both = pd.DataFrame({"published": published().to_dict(), "recommended": SDEConfig().to_dict()})
both[both["published"].astype(str) != both["recommended"].astype(str)]

# %% [markdown]
# ## Exercise 2.1 · Predict
#
# Two populations hold the same hundred cells, but one is twice as dense. Which interaction gives them different drifts?

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
    torch.testing.assert_close(interaction(x)[:, order], interaction(x[:, order]), atol=1e-6, rtol=1e-4)

# %% [markdown]
# ## Exercise 2.3 · Five lines: who is loudest?
#
# Use `parts` to find, for each receiver, the sender whose contribution is longest.

# %% tags=["solution"]
length = parts[0].norm(dim=-1)  # (receiver, sender)
loudest = length.argmax(dim=1)
assert (loudest != torch.arange(5)).all()  # nobody hears itself
loudest

# %% [markdown]
# ## What you have now
#
# - both interactions, written out by hand and equal to the module;
# - an integrator that meets a closed form, step by exact step;
# - one caveat: an attention map is asymmetric before it has learned anything.

# %%
run.finish()
