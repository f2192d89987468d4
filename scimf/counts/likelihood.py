"""Counts as random numbers: the negative binomial, log-normalised values, and count splitting."""

import torch

TINY = 1e-8  #: keeps logarithms finite
SCALE = 1e4  #: counts per cell of log-normalised values


def log_normalised(counts: torch.Tensor) -> torch.Tensor:
    """``log(1 + 1e4 x / sum x)`` of counts (cells, genes)."""
    return torch.log1p(SCALE * counts / counts.sum(1, keepdim=True).clamp_min(1))


def log_negative_binomial(
    x: torch.Tensor, mean: torch.Tensor, dispersion: torch.Tensor
) -> torch.Tensor:
    r"""Log-probability of counts; mean :math:`\mu`, variance :math:`\mu + \mu^2/\theta`.

    Shapes broadcast; ``dispersion`` is :math:`\theta`.
    """
    log_total = torch.log(dispersion + mean + TINY)
    return (
        dispersion * (torch.log(dispersion + TINY) - log_total)
        + x * (torch.log(mean + TINY) - log_total)
        + torch.lgamma(x + dispersion)
        - torch.lgamma(dispersion)
        - torch.lgamma(x + 1)
    )


def split_counts(
    counts: torch.Tensor, generator: torch.Generator, share: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split counts in two: each molecule goes to the first part with probability ``share``.

    The parts of a Poisson count are independent: what a model learns from the first half holds
    nothing of the noise in the second (Neufeld et al. 2023, count splitting).
    """
    first = torch.binomial(counts, torch.full_like(counts, share), generator=generator)
    return first, counts - first
