"""The published training, one step at a time: by our engine, or written out from the equations."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from evidence.setups import Setup

from scimf.core.parallel import seeded
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Snapshots
from scimf.dynamics.training_data import Batch, TrainingData
from workflow.benchmarks.training_steps import published_step


class PublishedTraining:
    """The published training on a set-up.

    Attributes
    ----------
    model
        What is trained, ready to be sampled from between steps.
    steps
        How many were taken.
    """

    def __init__(self, setup: Setup, seed: int, config: SDEConfig) -> None:
        self.config = config
        self.train = Snapshots.of(setup.adata, setup.split.train_mask(setup.adata))
        self.data = TrainingData.of(self.train, setup.split, config)
        with seeded(seed):
            self.sde = InteractingSDE(self.data.dim, config)
            self._random_state = torch.get_rng_state()
        self.draws = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.Adam(self.sde.parameters(), lr=config.lr)
        self.steps = 0
        self.model = FittedSDE(
            sde=self.sde,
            config=config,
            standardiser=self.data.standardiser,
            time_scale=self.data.time_scale,
            starts=Snapshots.to_start_from(setup.adata, setup.split),
            space=setup.space,
            seed=seed,
            history={},
        )

    def step(self, gradients: Callable[[], None]) -> None:
        """Take one step with gradients from :meth:`by_engine` or :meth:`written_out`."""
        self.sde.train().zero_grad()
        gradients()
        torch.nn.utils.clip_grad_norm_(self.sde.parameters(), self.config.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * self.config.plan().rate(self.steps)
        self.optimiser.step()
        self.sde.eval()
        self.steps += 1

    def by_engine(self) -> None:
        """Add gradients of one batch, as :func:`scimf.fit` takes them."""
        with self._own_random_state():
            batch = Batch.draw(self.data, self.config, self.draws, torch.device("cpu"))
            terms = batch.loss(self.sde, self.config, self.draws)
            self.config.plan().total(terms).backward()

    def written_out(self) -> None:
        """Add gradients of one batch by ``published_step``, one population after the other."""
        time_scale = self.data.time_scale
        populations = [p for p in sorted(self.train.density) if len(self.train.times(p)) > 1]
        for population in populations:
            times = self.train.times(population)
            clouds = [self.data.clouds[population, time] for time in times]
            with self._own_random_state():
                order = torch.randperm(len(clouds[0]))
                start = clouds[0][order[: self.config.batch_cells]]
                gaps = []
                for a, b in zip(times[:-1], times[1:], strict=True):
                    gaps.append(round(time_scale(b) - time_scale(a)))
                published_step(self.sde, start, clouds[1:], self.steps, gaps)
        for weight in self.sde.parameters():
            weight.grad /= len(populations)

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Let dropout go on where it was in the last step; the caller's state stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random_state)
            yield
            self._random_state = torch.get_rng_state()
