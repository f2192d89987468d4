# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sister cells, ligands and receptors
#
# **What is asked.** Notebook 5 fits blood progenitors with inherited barcodes, and finds that these
# data cannot tell who moves whom. Two more things can be asked of real cells. Do simulated cells
# become what their sisters became? And which of the pairs of ligand and receptor that tables list
# can be told from the cells that there are?
#
# **What was found.**
#
# - *Fates.* Simulated fates agree with sister cells far better than chance, and **no better than
#   fates simulated without an interaction**. Most of the score is already in the state of the cell
#   on day 4.
# - *Pairs.* **None can be told, whatever the genes say.** Three dishes of dendritic cells can be
#   exchanged in six ways, so no p is below 1/6; and if that were no obstacle, the typical pair
#   would have to move a gene by more than dishes differ. One dish of blood progenitors leaves
#   nothing at all to tell a pair from. What would be needed is counted below.
# - *Verdict.* Clonal fate is evidence about where cells go, not about who moves them. A ranked list
#   of "top pairs" can be printed from any of these data, and is not biology.
#
# **What is independent here.** No fit has seen a barcode, so sisters are a judge from outside. But
# the fits have seen all days, day 6 included; this is not a prediction of an unseen day.

# %% tags=["parameters"]
profile: str = "teach"  # row of notebooks/profiles.toml; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
pair_tables: list = ["cellphonedb", "cellchatdb_mouse"]  # with LIANA+ also "liana:mouseconsensus"
n_seeds: int = 3  # training seeds, as in notebook 5
n_pcs: int = 20  # principal components, as in notebook 5
n_steps: int = 200  # optimiser steps, as in notebook 5
n_genes: int = 200  # most variable genes that pairs may act on
permutations: int = 999  # of the populations

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import scimf
from evidence import pair_designs, wave
from evidence.clonal_fates import CLONES, Vote, clonal_fates, fate_difference, fate_scores
from evidence.ligand_receptor import load_pairs
from scimf import plots, start_notebook
from scimf.data import registry
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit_many
from scimf.dynamics.model import matched_config
from scimf.interaction.regression import LEAST

run = start_notebook("fates_and_ligands", globals())
run

# %% [markdown]
# ## The fits of notebook 5
#
# Two models of equal size, with and without interaction, several training seeds each; they are read
# from the cache where notebook 5 has run.

# %%
real = run.load(["larry_clones"])
config = SDEConfig(steps=n_steps)
fits = {}
for adata in real.values():
    split = scimf.hold_out(adata)
    space = scimf.fit_space(adata, split, n_pcs=n_pcs)
    pair = {"scimf": config, "no_interaction": matched_config(space.dim, config)}
    options = {"seeds": range(n_seeds), "cache": run.fits, "device": run.device}
    kept = fit_many(adata, split, space, configs=pair, **options)
    fits = {method: [kept[method, s] for s in range(n_seeds)] for method in pair}

# %% [markdown]
# ## What cells become: sisters as judges
#
# A clone shares an inherited barcode. Sisters of a day-4 cell that were measured on day 6 say what
# its kind became, and no fit has seen barcodes. The score is the probability that a prediction
# gives to what the sisters are. It is asked of all clones, and of those whose day-4 cells are
# undifferentiated (`undiff`): they have not chosen yet, which is harder.

# %%
early_types = {"all": None, "undiff": "undiff"}
vote = Vote(leave_out=("undiff",))
scores = {}
differences = {}
for adata in real.values():
    fates = clonal_fates(fits, adata, early=4.0, late=6.0, vote=vote)
    for clones, early_type in early_types.items():
        scores[clones] = fate_scores(fates, early_type=early_type)
        for other in ("no_interaction", "own_state"):
            found = fate_difference(fates, "scimf", other, early_type=early_type)
            differences[clones, other] = found

# %%
if scores:
    table = pd.concat(scores, names=["clones"])
    print(table.round(3).to_string())
    minus = pd.DataFrame(differences).T.rename_axis(["clones", "scimf minus"])
    print(minus.round(3).to_string())

# %%
titles = {"all": "all clones", "undiff": "undifferentiated on day 4"}
words = {
    "own_state": "own state: nothing moves",
    "transport": "optimal transport",
    "frequency": "all late cells alike",
}

# %%
if scores:
    fig, panels = plt.subplots(1, 2, figsize=(7, 2.2), sharey=True, sharex=True)
    for ax, (clones, table) in zip(panels, scores.items(), strict=True):
        shown = table.rename(columns={"agreement": "mean"}, index=words)
        plots.scores(ax, shown, xlabel="probability given to what sisters became")
        null = {"ms": 11, "mew": 1.5, "color": "0.5", "label": "permuted clones"}
        ax.plot(shown["permuted"][::-1], range(len(shown)), "|", **null)
        ax.set_title(f"{titles[clones]} (n = {table['n_clones'].iloc[0]})", loc="left")
    panels[0].legend(loc="lower right")
    drawn = pd.concat(scores, names=["clones"])
    run.save_figure(fig, "fig_fates_and_ligands_a_clonal_fate", data=drawn)

# %% [markdown]
# **Figure a.** Simulated fates against sisters in `larry_clones`, day 4 to 6. Dots: mean over
# clones with 95 % interval over clones; grey: the same predictions after the sisters of all clones
# were exchanged. Left, all clones; right, the harder question, clones whose day-4 cells have not
# chosen yet.

# %%
for clones, table in scores.items():
    for method, row in table.iterrows():
        for key in ("agreement", "lo", "hi", "permuted", "p"):
            run.record({f"larry_clones.fate.{clones}.{method}.{key}": row[key]})
for (clones, other), found in differences.items():
    for key, value in found.items():
        run.record({f"larry_clones.fate.{clones}.minus_{other}.{key}": value})

# %%
run.expect(
    "simulated fates agree with sister cells better than chance",
    lambda: bool(scores["all"].loc["scimf", "p"] <= 0.05),
    needs="larry_clones",
)
run.expect(
    "they agree no better than fates simulated without interaction",
    lambda: differences["all", "no_interaction"]["lo"] <= 0,
    needs="larry_clones",
)

# %% [markdown]
# **Better than chance, and not better than without interaction.** Most of the score is already in
# what the cell is on day 4 ("nothing moves"); letting it move adds a little, more for cells that
# have not chosen yet. Clonal fate is real evidence about where cells go; it is none about who moves
# them.
#
# ## Ligands and receptors
#
# A pair acts if cells with the receptor change differently where its ligand is. That takes dishes
# in which the ligand differs. Report `ground_truth` finds all pairs of a simulation with twelve
# dishes, by one regression for each gene that is neither ligand nor receptor and a p-value from
# exchanging the dishes' ligands (`evidence/pairs.py`). What can it say here?
#
# - `shalek_dc`: mouse dendritic cells at 1, 2, 4 and 6 hours of LPS, PIC or PAM. The unit is the
#   dish: three, one a stimulus.
# - `larry_clones`: blood progenitors on days 2, 4 and 6, all in **one dish**. Clones are not
#   dishes: they swim in the same medium, and none has cells enough.
#
# Human symbols are matched to those of the mouse by letter case. A pair is *expressed* if both
# sides are in a tenth of the cells of some type.

# %%
dishes = {}
seen = run.attempt("shalek_dc", wave.read_dishes)
if seen is not None:
    rows = registry.entries()["shalek_dc"]["files"]
    run.reads([row["file"] for row in rows], [row["sha256"] for row in rows])
    dishes["shalek_dc"] = seen[(seen.obs["stimulus"] != "none").to_numpy()].copy()
for name, adata in real.items():
    dishes[name] = adata.copy()
    dishes[name].X = np.log1p(adata.to_df().to_numpy())

# %%
for name, adata in real.items():
    barcodes = pd.DataFrame(adata.obsm[CLONES].toarray() > 0)
    keys = [adata.obs[key].astype(str).to_numpy() for key in ("cell_type", "time")]
    cells = barcodes.groupby(keys).sum().stack()
    often = (cells >= LEAST).groupby(level=[0, 2]).sum()
    n = int((often > 1).groupby(level=1).any().sum())
    of = f"{n} of {barcodes.shape[1]} clones have {LEAST} cells of one type at two times"
    print(f"{name}: {of}, which a change of a mean needs")
    run.record({f"hearing.lr.{name}.clones_that_change": n})

# %%
options = {"n_genes": n_genes, "permutations": permutations, "seed": seed}
asked = {}
for name, adata in dishes.items():
    for table in pair_tables:
        listed = run.attempt(table, load_pairs, table, adata.var_names)
        if listed is not None:
            asked[name, table] = pair_designs.ask(adata, listed, **options)
found = pd.DataFrame({key: answer.row for key, answer in asked.items()})
found.round(3)

# %% [markdown]
# `told`: pairs at a false-discovery rate of 0.1. `floor`: no p can be smaller, whatever the cells
# say (`smallest p`, from random exchanges, only scatters about it). `changes` of a mean are what
# there is to explain, and `free` how many are left beyond a type's own drift (a constant and a
# decay) and one pair. `needed`: populations with which one pair among all could pass at all.
#
# **The smallest effect** that four of five such experiments would have told (*alone*: asked of one
# pair at 0.05; *among all*: of all of them at a false-discovery rate of 0.1), for the median pair
# and gene: s.d. between cells by which the gene would differ after six hours between the dish that
# hears most and that which hears least. It is lenient: it takes for granted that stimuli differ by
# chance and ligands only.

# %%
for (name, table), answer in asked.items():
    for key, value in answer.row.items():
        if np.isfinite(value):
            source = table.split(":")[0]
            run.record({f"hearing.lr.{name}.{source}.{key.replace(' ', '_')}": value})

# %%
differ = {}
if ("shalek_dc", "cellphonedb") in asked:
    answer = asked["shalek_dc", "cellphonedb"]
    pairs = load_pairs("cellphonedb", dishes["shalek_dc"].var_names)
    part = pair_designs.with_targets(dishes["shalek_dc"], pairs, n_genes)
    differ["shalek_dc"] = pair_designs.differences_between(part)
    most = {"median": differ["shalek_dc"].median(), "most": differ["shalek_dc"].max()}
    run.record({f"hearing.lr.shalek_dc.dishes_differ.{key}": most[key] for key in most})
    told = answer.row["smallest effect among all"]
    for wanted, key in ((1.0, "1"), (0.5, "0_5")):
        n_pairs = answer.row["expressed"]
        n = pair_designs.populations_needed(answer.design, told, wanted, n_pairs)
        run.record({f"hearing.lr.shalek_dc.dishes_for_{key}": n})
        print(f"{n} dishes like these would tell {wanted:g} s.d., one pair among all")

# %%
drawn = {}
if differ:
    drawn["how much dishes differ, by gene"] = differ["shalek_dc"]
for (name, table), answer in list(asked.items())[::-1]:
    if name in differ:
        source = table.split(":")[0]
        drawn[f"told of one pair of {source}"] = answer.smallest["alone"]
        drawn[f"told among all pairs of {source}"] = answer.smallest["among all"]

# %%
if differ:
    fig, ax = plt.subplots(figsize=(5.4, 1.9))
    style = {"orientation": "horizontal", "whis": (5, 95), "showfliers": False, "widths": 0.5}
    ax.boxplot(list(drawn.values()), tick_labels=list(drawn), **style)
    ax.set(xlabel="s.d. between cells", xscale="log", xticks=(0.5, 1, 2, 5))
    ax.set_xticklabels(("0.5", "1", "2", "5"))
    ax.minorticks_off()
    table = pd.concat(drawn, names=["what", "pair or gene"]).rename("sd")
    run.save_figure(fig, "fig_fates_and_ligands_b_smallest_effects", data=table)

# %% [markdown]
# **Figure b.** `shalek_dc`: by how much genes really differ between dishes at one time (below), and
# by how much a gene would have to differ for a pair to be told. Lines: 5 to 95 % of genes or pairs.

# %%
for name in ("shalek_dc", "larry_clones"):
    some = [answer.row for (data, _), answer in asked.items() if data == name]
    run.expect(
        f"{name}: no ligand-receptor pair is told, and none could be",
        lambda some=some: all(row["told"] == 0 and row["floor"] > 0.05 for row in some),
        needs=[name, "cellphonedb"],
    )

# %%
answer = asked.get(("shalek_dc", "cellphonedb"))
run.expect(
    "shalek_dc: to be told, the median pair had to do more than the median gene differs",
    lambda: (
        asked["shalek_dc", "cellphonedb"].row["smallest effect alone"]
        > differ["shalek_dc"].median()
    ),
    needs=["shalek_dc", "cellphonedb"],
)
run.expect(
    "larry_clones: nothing is left beyond the cells' own drift to tell a pair from",
    lambda: asked["larry_clones", "cellphonedb"].design.free == 0,
    needs=["larry_clones", "cellphonedb"],
)

# %% [markdown]
# **Verdict: cannot be told.** `shalek_dc` would need at least six dishes in which ligands differ
# and the stimulus does not (drops of few cells, dishes of several densities, cells without the
# receptor), and more for weak effects, as counted above. `larry_clones` would need cultures of
# other compositions, taken apart on day 2: one dish has no second one to compare with. What either
# file does hold is the two lists of who expresses what, and these hold no effect.

# %%
run.finish()
