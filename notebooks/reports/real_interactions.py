# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Three real experiments: what can be told, and what cannot
#
# **What is asked.** Simulated cells interact because we made them. Do real ones, in experiments
# where the answer is known or can be checked? Three kinds of experiment that no model of drift
# fits: a sender is *present, absent, or behind a membrane*; cells of *one kind in space*; a *wave
# of signal* in one dish.
#
# **What was found.**
#
# - *T cells and dendritic cells* change each other's states in co-culture: yes for both, with
#   plates, not cells, as the units. **Through a membrane** T cells stay where they are without
#   dendritic cells: at most a tenth of the co-culture's effect. Dendritic cells behind a membrane
#   do differ from those alone, but *away from* co-culture. A p-value alone would have said "yes,
#   they interact through the membrane", which is the wrong reading.
# - *Cancer cells in a dish* keep their distance: below 16 µm they push apart, in a force learned
#   from pictures alone that describes wells it has never seen. Whether *density limits growth*
#   **cannot be told**: one well carries it.
# - *Interferon in dendritic cells*: who makes the signal is seen, and that silent cells answer,
#   too. That they answer *because they hear it* **cannot be told** from one dish without an
#   assumption.
#
# **Read the thresholds as what they are.** They were set after one look at these data. They are
# regression tests: they tell if the code changes its answer, and are no predictions.
#
# **Yours.** The first two questions can be asked of a file of your own; the last section says how.

# %% tags=["parameters"]
profile: str = "teach"  # row of notebooks/profiles.toml; make sets it
seed: int = 0  # of the jittered cells
device: str = "auto"  # nothing here needs a GPU
n_jittered: int = 5  # times that every cell is moved at random
jitter: float = 60.0  # micrometres
most_through_membrane: float = 0.1  # of the co-culture's effect: what counts as little
data: str = ""  # a file of your own (.h5ad): then the last section is run on it, and no other
condition_key: str = ""  # its column of conditions; empty: "condition", if it is there
population_key: str = ""  # of plates, dishes or wells; empty: "population"
type_key: str = ""  # of types or states; empty: "cell_type"
batch_key: str = ""  # of batches, within which is compared; empty: "batch"
time_key: str = ""  # of times, likewise; empty: "time"

# %%
import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from evidence import contrasts, own_design, positions, wave
from evidence.contrasts import ALONE, MEMBRANE, TOGETHER
from scimf import plots, start_notebook
from scimf.data import registry

run = start_notebook("real_interactions", globals())
run

# %%
read = {
    "picseq_coculture": contrasts.read_cells,
    "pc3_positions": positions.read_positions,
    "shalek_dc": wave.read_wave,
}
real = {}
for name, reader in read.items():
    found = run.attempt(name, own_design.not_asked if data else reader)
    if found is not None:
        real[name] = found
        entry = registry.entries()[name]
        rows = entry["files"]
        run.reads([row["file"] for row in rows], [row["sha256"] for row in rows])
        print(f"{name}:", *entry["warnings"], sep="\n  ")

# %% [markdown]
# ## Present, absent, or behind a membrane
#
# Mouse T cells and dendritic cells were kept together, each kind alone, and (20 hours, one date
# only) in two halves of one dish with a membrane between them that lets molecules through and no
# cells (PIC-seq, Giladi et al. 2020). The authors sorted every cell into one of nine named states;
# we ask whether the *shares of states* differ.
#
# **Why plates.** Cells of one plate share a culture, a sorting and a sequencing: hundreds of them
# are one observation, not hundreds. So a plate is one point (the square roots of its shares, whose
# noise is the same for common and rare states), and the test exchanges whole plates, only among
# those of the same time, date and sorting. All exchanges are tried, so the p-value is exact, and no
# smaller than its **floor**, one over their number.

# %%
by_receiver = {}
if "picseq_coculture" in real:
    cells = real["picseq_coculture"]
    counts = contrasts.count_states(cells)
    states = contrasts.plate_states(counts)
    for receiver in contrasts.RECEIVERS.values():
        by_receiver[receiver] = states.xs(receiver, level="receiver", drop_level=False)
    shown = counts.groupby(level=["receiver", "time", "date", "condition"]).size()
    print("plates", shown.unstack("condition", fill_value=0).to_string(), sep="\n")
    print(f"{int(cells['state'].isna().sum())} of {len(cells)} cells have no named state: left out")

# %% [markdown]
# **Alone against co-culture.** Here there are enough plates for a verdict, for each kind of cell.

# %%
tests = {}
if by_receiver:
    for other in (TOGETHER, MEMBRANE):
        each = []
        for receiver, part in by_receiver.items():
            each.append(contrasts.contrast(part, ALONE, other))
            tests[receiver, other] = each[-1]
        tests["both together", other] = contrasts.of_both(each)

# %%
rows = []
for (receiver, other), test in tests.items():
    verdict = test.verdict if other == TOGETHER else "see the effect below"
    rows.append((receiver, other, test.n_plates, test.p, test.floor, verdict))
columns = ["receiver", "alone against", "plates", "p", "floor", "verdict"]
pd.DataFrame(rows, columns=columns)

# %%
short = {"T cells": "t", "dendritic cells": "dc", "both together": "both"}
names = {TOGETHER: "coculture", MEMBRANE: "membrane"}
for (receiver, other), test in tests.items():
    key = f"hearing.picseq.{names[other]}.{short[receiver]}"
    run.record({f"{key}.p": test.p, f"{key}.floor": test.floor})
for receiver in contrasts.RECEIVERS.values():
    run.expect(
        f"{receiver}: alone against co-culture p <= 0.005 (regression test)",
        lambda receiver=receiver: tests[receiver, TOGETHER].p <= 0.005,
        needs="picseq_coculture",
    )

# %% [markdown]
# **Why the membrane gets no verdict from a p alone.** It was there on one date, with 3 plates
# against 2 alone: for one kind of cell no p below 0.1 is possible, so "not significant" says
# nothing, and never "no". For both kinds together the floor is lower and p does pass 0.05; read as
# "they signal through the membrane" that is a false yes, because it does not ask *in which
# direction* states shift. And with cells instead of plates as units (last row of the next table)
# p becomes absurdly small: hundreds of cells of one plate were counted as independent.
#
# **What can be asked instead: how far, and which way.** The direction from "alone" to "co-culture"
# is learned on the *other date*, and the plates of the membrane's date are placed on it: 0 is
# alone, 1 is co-culture. The interval counts plates (Fieller's, for a ratio of two differences).

# %%
with_membrane, other_date = "20181111", "20181211"
effects = {}
for receiver, part in by_receiver.items():
    place = {"receiver": receiver, "date": with_membrane, "other": other_date}
    effect = contrasts.effect_along_other_date(part, **place)
    effects[receiver] = effect
    key = f"hearing.picseq.membrane.{short[receiver]}"
    run.record({f"{key}.share": effect.share, f"{key}.lo": effect.lo, f"{key}.hi": effect.hi})
    run.record({f"{key}.smallest": effect.smallest, f"{key}.cosine_of_dates": effect.cosine})

# %%
rows = {}
for receiver, effect in effects.items():
    own = counts.xs((receiver, 20, with_membrane), level=["receiver", "time", "date"])
    limits = f"[{effect.lo:.2f}, {effect.hi:.2f}]"
    rows[receiver] = {
        "share of the co-culture's effect": f"{effect.share:.2f} {limits}",
        "smallest that could be told": round(effect.smallest, 2),
        "verdict": effect.verdict(most_through_membrane),
        "p if cells were the units": f"{contrasts.p_of_cells(own, ALONE, MEMBRANE):.1g}",
    }
with pd.option_context("display.max_colwidth", None):
    print(pd.DataFrame(rows).to_string())

# %%
if effects:
    fig, panels = plt.subplots(2, 1, figsize=(7, 2.6), sharex=True)
    for ax, (receiver, effect) in zip(panels, effects.items(), strict=True):
        for k, condition in enumerate((TOGETHER, MEMBRANE, ALONE)):
            places = effect.places.loc[effect.places["condition"] == condition, "place"]
            ax.plot(places, [k] * len(places), "o", ms=4, color=plots.PALETTE[k])
        ax.plot([effect.lo, effect.hi], [0.7, 0.7], color="0.3")
        ax.axvline(0, color="0.7", lw=0.8)
        ax.axvline(1, color="0.7", lw=0.8, ls="--")
        ax.set(yticks=range(3), yticklabels=(TOGETHER, MEMBRANE, ALONE), ylim=(-0.5, 2.5))
        ax.set_title(f"{receiver}: {effect.verdict(most_through_membrane)}", loc="left")
    panels[1].set_xlabel("on the way from alone (0) to co-culture (1), direction of another date")

# %%
if effects:
    drawn = pd.concat({receiver: effect.places for receiver, effect in effects.items()})
    drawn = drawn.rename_axis(["receiver", "row"]).reset_index("receiver")
    run.save_figure(fig, "fig_real_interactions_a_membrane", data=drawn)

# %% [markdown]
# **Figure a.** Every dot is a plate; bars: 95 % interval of the membrane's mean. T cells behind a
# membrane lie where T cells alone lie. Dendritic cells lie on the far side of "alone": a real
# difference, and not that of co-culture.

# %%
for receiver in contrasts.RECEIVERS.values():
    run.expect(
        f"{receiver}: the membrane has at most +0.10 of the co-culture's effect (regression test)",
        lambda receiver=receiver: effects[receiver].hi <= 0.1,
        needs="picseq_coculture",
    )

# %%
run.expect(
    "dendritic cells through the membrane: a difference, away from co-culture (regression test)",
    lambda: effects["dendritic cells"].verdict().startswith("a difference, away from"),
    needs="picseq_coculture",
)
run.expect(
    "no membrane test of one kind of cell can reach 0.05, whatever the data",
    lambda: min(tests[receiver, MEMBRANE].floor for receiver in by_receiver) > 0.05,
    needs="picseq_coculture",
)

# %% [markdown]
# ### What this does not say
#
# *Date and membrane are confounded across dates*: the membrane was there on one date only, so a
# membrane plate compared with any plate of the other date differs by both. Only plates of its own
# date are compared here; the other date lends the direction and nothing else.
#
# *Plates are probably not cultures.* They vary about as much as draws of one culture would (table:
# 1 is exactly that), and seem to be sorting plates of one dish. Then p and intervals are about
# *these cultures*, not about the next mouse. The direction was learned from states that the authors
# named, some after the conditions. And an effect along one direction says nothing about others.
#
# *What would be needed.* One dish alone and one behind a membrane on each of several dates. Plates
# of one date at least as below, and from separate cultures:

# %%
if "picseq_coculture" in real:
    at_20_hours = states.xs(20, level="time")
    only = contrasts.on_some_dates_only(at_20_hours)
    print("Not done on every date, so confounded with the date:", only)
    spread = contrasts.overdispersion(counts)
    print("Variance between plates over that of draws of cells:")
    print(spread.describe()[["count", "mean", "50%", "max"]].round(2).to_string())
    run.record({"hearing.picseq.overdispersion.mean": spread.mean()})
    run.record({"hearing.picseq.overdispersion.max": spread.max()})
    run.expect("the membrane was there on one date only", list(only) == [MEMBRANE])

# %%
needed = {}
for n_alone, n_membrane in ((2, 3), (3, 3), (2, 5), (3, 4), (4, 4)):
    p = contrasts.smallest_p(n_alone, n_membrane)
    needed[f"{n_alone} alone, {n_membrane} membrane"] = round(p, 3)
pd.Series(needed, name="smallest p on one date, one kind of cell")

# %% [markdown]
# ## One kind of cell, in space
#
# Nine wells of prostate cancer cells (PC-3; Browning et al. 2020), seeded at three densities,
# photographed three times; every cell is a point. Nobody followed a cell from one picture to the
# next, and nobody has to. If cells push each other apart, close pairs are rare; how rare tells the
# force. Where the picture of neighbours does not change in time, the pushes and the random motion
# balance for *every* test field, and with the force's own basis as test fields that is four
# equations for four numbers (`evidence/positions.py`, thirty lines). Only the ratio **force over
# motility** can be read off a picture.
#
# First the pairs themselves, relative to the same wells with every cell moved by 60 µm: crowded and
# empty regions (the scratch) remain, neighbours are lost.

# %%
distances = (6, 8, 10, 12, 14, 16, 20, 25, 30, 40, 60)
edges = (0, 6, 12, 18, 25, 35, 50)
if "pc3_positions" in real:
    pictures = real["pc3_positions"]
    moved = []
    for k in range(n_jittered):
        moved.append(positions.jittered(pictures, by=jitter, seed=seed + k))
    pairs = positions.near_and_far(pictures, moved, edges)
    print("Pairs relative to jittered cells, by distance in micrometres:")
    print(pairs.round(2).to_string())
    for hour, ratio in pairs["6-12"].items():
        run.record({f"hearing.pc3.pairs_6_12.hour_{hour}": ratio})

# %% [markdown]
# **The force, learned without the well it is judged on.** The gain says how much better a force
# describes a held-out well than no interaction does (0). The same is done with jittered cells,
# where nothing may be found, and with the pictures of each hour alone: if the balance is a fair
# assumption, the force must not depend on the hour.

# %%
if "pc3_positions" in real:
    wells = positions.by_well(pictures)
    jittered_wells = {}
    each = [positions.by_well(one) for one in moved]
    for well in wells:
        copies = {str(k): one[well] for k, one in enumerate(each)}
        jittered_wells[well] = positions.together(copies)

# %%
if "pc3_positions" in real:
    found = positions.force_table(wells, distances)
    control = positions.force_table(jittered_wells, distances)
    gains = pd.DataFrame(
        {
            "gain": positions.held_out_gains(wells),
            "gain, jittered": positions.held_out_gains(jittered_wells),
        }
    )
    print("Force over motility, per micrometre (+ pushes apart):")
    both = pd.concat({"cells": found, "jittered": control}, axis=1)
    print(both.round(4).to_string())
    print(gains.to_string(float_format="%.6f"))

# %%
if "pc3_positions" in real:
    for distance in (8, 12, 16, 20, 30):
        key = f"hearing.pc3.force.um_{distance}"
        run.record({key: found.loc[distance, "force"], f"{key}.se": found.loc[distance, "se"]})
        run.record({f"{key}.jittered": control.loc[distance, "force"]})
    hours = sorted({hour for _, hour in pictures})
    for hour in hours:
        at_hour = positions.force_table(positions.by_well(pictures, [hour]), [12])
        run.record({f"hearing.pc3.force.um_12.hour_{hour}": at_hour.loc[12, "force"]})
        print(f"{hour} hours, 12 µm: {at_hour.round(3).to_dict('records')[0]}")
    run.record({"hearing.pc3.wells_better": int((gains["gain"] > 0).sum())})

# %%
if "pc3_positions" in real:
    fine = np.linspace(6, 60, 109)
    line = positions.force_table(wells, fine)
    no_force = positions.force_table(jittered_wells, fine)
    of_wells = {}
    for well, equations in wells.items():
        of_wells[well] = positions.force(equations.solve(), fine)
    of_wells = pd.DataFrame(of_wells, index=line.index)

# %%
if "pc3_positions" in real:
    fig, ax = plt.subplots(figsize=(4.6, 2.6))
    ax.plot(fine, of_wells, color="0.7", lw=0.7)
    ax.plot([], [], color="0.7", lw=0.7, label="each of nine wells")
    limits = (line["force"] - 2 * line["se"], line["force"] + 2 * line["se"])
    ax.fill_between(fine, *limits, color="C0", alpha=0.3, lw=0)
    ax.plot(fine, line["force"], color="C0", label="all wells, ± 2 jackknife s.e.")
    ax.plot(fine, no_force["force"], color="C1", ls="--", label=f"cells moved by {jitter:g} µm")
    ax.axhline(0, color="0.5", lw=0.8)
    ax.set(xlabel="distance (µm)", ylabel="force / motility (1/µm)", ylim=(-0.15, 0.9))
    ax.legend()

# %%
if "pc3_positions" in real:
    drawn = of_wells.join(line[["force", "se"]]).assign(jittered=no_force["force"])
    run.save_figure(fig, "fig_real_interactions_b_pair_force", data=drawn)

# %% [markdown]
# **Figure b.** Force between two cells over their motility, from positions alone. Above zero cells
# push apart. Grey: each well by itself. Dashed: the control, in which nothing is left to find.

# %%
near = [distance for distance in distances if distance <= 16]
regression = " (regression test)"
run.expect(
    "a force of the other wells is better than none in at least 8 of 9 wells" + regression,
    lambda: (gains["gain"] > 0).sum() >= 8,
    needs="pc3_positions",
)
run.expect(
    "up to 16 µm cells push apart, by more than 3 jackknife standard errors" + regression,
    lambda: (found.loc[near, "z"] > 3).all(),
    needs="pc3_positions",
)

# %%
run.expect(
    "on jittered cells less than a twentieth of that force is left" + regression,
    lambda: (control.loc[near, "force"].abs() < 0.05 * found.loc[near, "force"]).all(),
    needs="pc3_positions",
)
run.expect(
    "and it explains less than a hundredth as much of held-out wells" + regression,
    lambda: gains["gain, jittered"].mean() < 0.01 * gains["gain"].mean(),
    needs="pc3_positions",
)

# %% [markdown]
# **From thin to dense wells.** A force that is a property of two cells does not care how many
# others there are. Learned on the thinnest three wells, judged on the densest three, and back;
# `own_gain` is the most that any force of this form can reach there.

# %%
if "pc3_positions" in real:
    low = [well for well in wells if well.startswith("8000")]
    high = [well for well in wells if well.startswith("12000")]
    upwards = positions.transfer_gains(wells, low, high)
    downwards = positions.transfer_gains(wells, high, low)
    print("learned on thin wells\n", upwards.round(4), sep="")
    print("learned on dense wells\n", downwards.round(4), sep="")
    share = upwards.mean()["gain"] / upwards.mean()["own_gain"]
    run.record({"hearing.pc3.transfer.low_to_high.share_of_own": share})
    share = downwards.mean()["gain"] / downwards.mean()["own_gain"]
    run.record({"hearing.pc3.transfer.high_to_low.share_of_own": share})

# %%
run.expect(
    "a force of thin wells is better than none in all three dense wells" + regression,
    lambda: (upwards["gain"] > 0).all(),
    needs="pc3_positions",
)

# %% [markdown]
# ### Does density limit growth?
#
# Cells divide; do they divide less where it is crowded? Growth of each well over the 36 hours
# against its first density, a straight line. The verdict is "yes" only if no single well carries
# it.

# %%
if "pc3_positions" in real:
    grown = positions.growth(pictures, area=1e6)
    slope = positions.density_limits_growth(grown)
    print("density in cells per mm², rate per hour", grown.round(4).to_string(), sep="\n")
    limits = f"{100 * slope.slope:.4f} [{100 * slope.lo:.4f}, {100 * slope.hi:.4f}]"
    print(f"change of the rate for 100 cells per mm² more: {limits}, p = {slope.p:.2f}")
    print(f"p without one well: {slope.without.min():.2f} to {slope.without.max():.2f}")
    print(f"smallest that could be told with these nine wells: {100 * slope.smallest:.4f}")
    print(f"does density limit growth: {slope.verdict}")

# %%
if "pc3_positions" in real:
    run.record({"hearing.pc3.growth.slope_per_100": 100 * slope.slope})
    run.record({"hearing.pc3.growth.lo": 100 * slope.lo, "hearing.pc3.growth.hi": 100 * slope.hi})
    run.record({"hearing.pc3.growth.smallest": 100 * slope.smallest})
    run.record({"hearing.pc3.growth.p": slope.p})
    run.record({"hearing.pc3.growth.p_without_one": slope.without.max()})

# %%
run.expect(
    "whether density limits growth cannot be told" + regression,
    lambda: slope.verdict == "cannot be told",
    needs="pc3_positions",
)

# %% [markdown]
# **What this does not say.** A gap between points has three readings that these pictures cannot
# part: cells push each other, cells have a size, or the software that found them took two touching
# cells for one. The weak pull beyond 30 µm may be daughters that stay near each other. The wells
# are scratch assays, so nothing is truly at rest; that neighbours balance faster than the gap
# closes is an assumption, and the same force at three hours speaks for it.
#
# ## A wave of signal in one dish
#
# Mouse dendritic cells meet a stimulus of bacteria or viruses; a few make interferon beta
# (`Ifnb1`), and hours later most switch on the genes that answer it, such as `Ifit1` (Shalek et al.
# 2014).
# There is **one composition**: in every dish all cells hear the same, and what they hear, the
# stimulus and their own programme all change with the same clock.

# %%
if "shalek_dc" in real:
    dishes = wave.wave_table(real["shalek_dc"])
    by_stimulus = wave.p_of_stimuli(dishes)
    parts = {}
    for time in (2.0, 4.0):
        parts[time] = wave.makers_against_silent(real["shalek_dc"], stimulus="LPS", time=time)
        for key, value in parts[time].items():
            run.record({f"hearing.shalek.lps_{time:g}h.makers_minus_silent.{key}": value})
    print(dishes.round(2).to_string())
    print(pd.DataFrame(parts).T.round(2).to_string())
    print({key: round(value, 2) for key, value in by_stimulus.items()})

# %%
if "shalek_dc" in real:
    for key, value in by_stimulus.items():
        run.record({f"hearing.shalek.stimuli.{key}": value})
    for key in ("makers", "answer", "silent"):
        for time in (2.0, 4.0):
            run.record({f"hearing.shalek.lps_{time:g}h.{key}": dishes.loc[("LPS", time), key]})

# %%
if "shalek_dc" in real:
    fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.2), sharex=True)
    for k, stimulus in enumerate(wave.STIMULI):
        course = dishes.loc[stimulus]
        style = {"color": plots.PALETTE[k], "ms": 4, "label": stimulus}
        left.plot(course.index, course["makers"], "o-", **style)
        right.plot(course.index, course["silent"], "o-", **style)
    left.set(xlabel="hours", ylabel=f"share that makes {wave.SIGNAL}")
    right.set(xlabel="hours", ylabel=f"{wave.ANSWER} in silent cells (log)")
    left.legend()
    run.save_figure(fig, "fig_real_interactions_c_wave", data=dishes.reset_index())

# %% [markdown]
# **Figure c.** Left, who makes the signal; right, the answer of cells that do **not** make it. The
# answer follows the signal by about two hours and reaches silent cells as well.
#
# **What may be said.** At 4 hours of LPS silent cells answer about as strongly as those that make
# the signal (table; `smallest` is the difference that could have been told, cells of one dish as
# units). *If* a cell without the signal has no other reason to answer, and was silent all along,
# then it heard the signal. Neither can be checked here: a cell that is silent at 4 hours may have
# made it at 2, and the stimulus may switch on `Ifit1` by itself, with a delay (with PAM almost no
# cell makes the signal, and cells answer all the same by 6 hours). Across stimuli, more
# signal at 2 hours goes with more answer at 4, but there are three stimuli, six exchanges, and no p
# below 1/6: **cannot be told**. Needed would be cells in drops of their own, cells without the
# receptor (both exist in that study, and are not in these files), or dishes at many densities.

# %%
run.expect(
    "three stimuli cannot tell at 0.05, whatever the data",
    lambda: by_stimulus["floor"] > 0.05,
    needs="shalek_dc",
)

# %% [markdown] tags=["yours"]
# ## Yours
#
# ```
# make figures NOTEBOOKS=real_interactions DATA=my.h5ad CONDITION_KEY=treatment POPULATION_KEY=plate
# ```
#
# asks a file of your own (`.h5ad`; columns are named by `CONDITION_KEY`, `POPULATION_KEY`,
# `TYPE_KEY`, `BATCH_KEY` and `TIME_KEY` unless they are called `condition`, `population`,
# `cell_type`, `batch` and `time`) and writes a page with this section alone.
#
# - **Conditions**, if there is a column `condition`: do the shares of cell types differ, with the
#   *population* (plate, dish, mouse: what was treated by itself) as the unit? Populations are
#   exchanged within batch and time only.
# - **Positions**, if there is `obsm["spatial"]` and one type of cells: do near cells push or pull
#   each other? Populations are the wells, in any unit of length.
#
# Without a file it is asked of the T cells and the cancer cells from above.

# %% tags=["yours"]
own = {}
if data:
    columns = {"condition": condition_key, "population": population_key, "cell_type": type_key}
    columns |= {"batch": batch_key, "time": time_key}
    found = own_design.read_own(data, columns)
    own = dict.fromkeys(own_design.modes_of(found, data), found)
if "picseq_coculture" in real:
    t_cells = cells[cells["receiver"] == "T cells"]
    names = {"plate": "population", "state": "cell_type", "date": "batch"}
    own["conditions"] = ad.AnnData(obs=t_cells.rename(columns=names).drop(columns="receiver"))
if "pc3_positions" in real:
    where = [(well, hour) for (well, hour), there in pictures.items() for _ in there]
    obs = pd.DataFrame(where, columns=["population", "time"]).rename(index=str)
    spatial = np.concatenate(list(pictures.values()))
    own["positions"] = ad.AnnData(obs=obs, obsm={"spatial": spatial})

# %% tags=["yours"]
answers = own_design.answers_of(own, seed=seed)
for name, answer in answers.items():
    print(f"{name}: {answer}" if isinstance(answer, str) else f"{name}: see below")
if data and all(isinstance(answer, str) for answer in answers.values()):
    raise ValueError(f"{data}: {next(iter(answers.values()))}")

# %% tags=["yours"]
by_conditions = answers.get("conditions", "")
if not isinstance(by_conditions, str):
    table = by_conditions.table
    with pd.option_context("display.max_colwidth", None):
        print(table.round(4).to_string(index=False))
    for (first, second), part in by_conditions.differences.items():
        print(f"\nshares, {second} minus {first}:\n{part.round(3).to_string()}")
    told = table["verdict"].str.split(":").str[0].value_counts()
    for verdict, n in told.items():
        run.record({f"hearing.yours.conditions.{verdict.replace(' ', '_')}": n})

# %% [markdown] tags=["yours"]
# Each row compares two conditions. `p`: share of exchanges of populations that separate them at
# least as well; `q`: corrected for the number of rows; `smallest_p`: what the design can reach at
# best, **whatever the cells do**. Below, the shares: `lo` and `hi` are 95 % limits with populations
# as units, `smallest` is the difference that four of five such experiments would have told. Where
# all else is "no", these say how large a difference may still be.

# %% tags=["yours"]
if not isinstance(by_conditions, str) and by_conditions.differences:
    (first, second), part = next(iter(by_conditions.differences.items()))
    fig, ax = plt.subplots(figsize=(4.6, 0.8 + 0.25 * len(part)))
    rank = np.arange(len(part))[::-1]
    ax.hlines(rank, part["lo"], part["hi"], color="C0")
    ax.plot(part["difference"], rank, "o", color="C0", ms=4)
    ax.axvline(0, color="0.5", lw=0.8)
    ax.set(yticks=rank, yticklabels=part.index, xlabel=f"share, {second} minus {first}")
    run.save_figure(fig, "fig_real_interactions_d_your_conditions", data=part)

# %% [markdown] tags=["yours"]
# **Figure d** (conditions). The two conditions that are told best: differences of shares, 95 %.

# %% tags=["yours"]
by_positions = answers.get("positions", "")
if not isinstance(by_positions, str):
    print(f"{by_positions.verdict}")
    print(f"wells: {len(by_positions.gains)}, p = {by_positions.p:.2g}, no p can be below", end=" ")
    print(f"{by_positions.smallest_p:.2g}; distances in units of {by_positions.unit:.3g}")
    print(by_positions.table.round(3).to_string())
    run.record({"hearing.yours.positions.p": by_positions.p})
    run.record({"hearing.yours.positions.smallest_p": by_positions.smallest_p})

# %% tags=["yours"]
if not isinstance(by_positions, str):
    part = by_positions.table
    fig, ax = plt.subplots(figsize=(4.6, 2.4))
    ax.fill_between(part.index, part["lo"], part["hi"], color="C0", alpha=0.3, lw=0)
    ax.plot(part.index, part["force"], "o-", color="C0", ms=4, label="all wells, 95 %")
    ax.plot(part.index, part["jittered"], color="C1", ls="--", label="cells moved at random")
    ax.axhline(0, color="0.5", lw=0.8)
    ax.set(xlabel="distance / median distance to the nearest cell", ylabel="force / motility")
    ax.legend()
    run.save_figure(fig, "fig_real_interactions_e_your_positions", data=part)

# %% [markdown] tags=["yours"]
# **Figure e** (positions). Force between two cells over their motility, in units of the median
# distance to the nearest cell; above zero cells push apart. `gain`: wells that were left out are
# described better than by no force and than with cells moved at random; `p` counts such wells. That
# cells have a size, that two touching cells are found as one, and that cells push each other look
# the same in positions.

# %%
run.expect(
    "asked as a file of your own, T cells get the p of the first section",
    lambda: by_conditions.table.loc[0, "p"] == tests["T cells", TOGETHER].p,
    needs="picseq_coculture",
)
run.expect(
    "asked as a file of your own, cancer cells push each other apart" + regression,
    lambda: by_positions.verdict.endswith("push each other apart"),
    needs="pc3_positions",
)
run.finish()
