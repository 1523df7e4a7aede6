"""Log-likelihood of pictures under a small generator by annealed importance sampling (torch, float64).

The observation model is Gaussian, p(x | z) = N(x; g(z), sigma^2 I) with z ~ N(0, I) (Wu et al. 2017, "On the
quantitative analysis of decoder-based generative models", section 3). Chains go from the prior to the posterior by

    p_t(z) ~ N(z; 0, I) p(x | z)^beta_t,    log w = sum_t (beta_t - beta_(t-1)) log p(x | z_(t-1))

(Neal 2001, "Annealed importance sampling", section 2), moved at each one by Hamiltonian Monte Carlo (Neal 2011).
The mean of w over chains is an unbiased estimate of p(x), so the mean of its logarithm is a lower bound. The same chain
run backwards from an exact posterior sample gives an upper bound (bidirectional Monte Carlo, Grosse et al. 2015); an
exact sample is at hand for data that the model itself has drawn: `simulated_bounds` tells how far the two are apart.

Step sizes are found in a first sitting that follows the acceptance rate, and then held: a chain that adapts while it is
weighed would not be unbiased. Not imported by `ganlet.metrics`, which works without torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganlet.errors import GanletError

Draw = Callable[[Tensor], Tensor]
"""A generator: latents (n, latent) float64 -> pictures (n, ...) float64, each row on its own (eval mode)."""

ACCEPTANCE = 0.65  # of the HMC moves, what step sizes aim at (Neal 2011, section 4.2)
FASTER, SLOWER = 1.1, 1.1 ** (-ACCEPTANCE / (1 - ACCEPTANCE))  # in balance where 65 % are accepted
FIRST_STEP = 0.5
JITTER_LOW, JITTER_HIGH = 0.5, 1.2  # of a step: paths of one length can close on themselves (Neal 2011, section 4.2)
POWER = 5  # of the schedule (Friel and Pettitt 2008, section 4)


@dataclass(frozen=True)
class LogLikelihood:
    """log p(x) of each picture in nats, with the standard error of the estimate; both float64 (n,)."""

    value: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    acceptance: float
    """Mean acceptance rate of the moves; below 0.3 or above 0.95 the chains need more temperatures."""


@dataclass(frozen=True)
class Bounds:
    """Stochastic lower and upper bounds of log p(x) of simulated pictures, float64 (n,) in nats."""

    pictures: NDArray[np.float64]  # (n, ...)
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def gap(self) -> float:
        """Mean distance of the bounds in nats: how wrong the estimator can be on such pictures."""
        return float((self.upper - self.lower).mean())


@dataclass(frozen=True)
class Annealing:
    """How the chains run: `chains` per picture, `temperatures` steps of beta, `leapfrogs` in each HMC move."""

    chains: int = 16
    temperatures: int = 1000
    leapfrogs: int = 10
    seed: int = 0


def log_likelihood(
    draw: Draw, pictures: Tensor, latent: int, sigma: float, how: Annealing | None = None
) -> LogLikelihood:
    """log p(x) of `pictures` (n, ...) under the generator `draw` with `latent` numbers and noise `sigma` a pixel.

    The standard error is that of log mean w over the chains (delta method). The same numbers for the same seed.
    Raises GanletError for a sigma or a number of chains out of range, other shapes, or a generator that draws NaN.
    """
    how = how or Annealing()
    model = _Model.of(draw, pictures, latent, sigma, how)
    betas = schedule(how.temperatures)
    steps = _tuned(model, betas, how)
    random = torch.Generator().manual_seed(how.seed + 1)
    start = torch.randn(how.chains, model.count, latent, generator=random, dtype=torch.float64)
    log_w, acceptance = _anneal(model, start, betas, steps, how.leapfrogs, random)
    value = torch.logsumexp(log_w, dim=0) - math.log(how.chains)
    relative = torch.exp(log_w - log_w.max(dim=0).values)
    error = relative.std(dim=0) / relative.mean(dim=0) / math.sqrt(how.chains)
    return LogLikelihood(value.numpy(), error.numpy(), acceptance)


def simulated_bounds(draw: Draw, count: int, latent: int, sigma: float, how: Annealing | None = None) -> Bounds:
    """Bounds of log p(x) for `count` pictures that the model itself draws. Raises GanletError as `log_likelihood`."""
    how = how or Annealing()
    random = torch.Generator().manual_seed(how.seed + 2)
    z = torch.randn(count, latent, generator=random, dtype=torch.float64)
    with torch.no_grad():
        clean = draw(z)
    pictures = clean + sigma * torch.randn(clean.shape, generator=random, dtype=torch.float64)
    lower = log_likelihood(draw, pictures, latent, sigma, how).value
    model = _Model.of(draw, pictures, latent, sigma, how)
    betas = schedule(how.temperatures)
    steps = _tuned(model, betas, how)
    # z is an exact sample of the posterior of its own picture; all chains of a picture start there.
    start = z.expand(how.chains, count, latent).clone()
    log_w, _ = _anneal(model, start, betas.flip(0), steps.flip(0), how.leapfrogs, random)
    upper = -(torch.logsumexp(log_w, dim=0) - math.log(how.chains))
    return Bounds(pictures.numpy(), lower, upper.numpy())


def schedule(temperatures: int) -> Tensor:
    """Inverse temperatures (temperatures + 1,) from 0 to 1, beta_t = (t / T)^5.

    Where the posterior is about normal, log p(x | z) has a standard deviation of sqrt(latent / 2) / beta, so steps have
    to be fine near 0. The sigmoid of Wu et al. is as good for a broad posterior, with twice the error for a sharp one.
    """
    return torch.linspace(0, 1, temperatures + 1, dtype=torch.float64) ** POWER


@dataclass(frozen=True)
class _Model:
    draw: Draw
    flat: Tensor  # (n, d)
    latent: int
    sigma: float

    @classmethod
    def of(cls, draw: Draw, pictures: Tensor, latent: int, sigma: float, how: Annealing) -> "_Model":
        if not (math.isfinite(sigma) and sigma > 0):
            raise GanletError(f"Got sigma = {sigma} for the observation noise, expected a number above 0.")
        if how.chains < 2 or how.temperatures < 1 or how.leapfrogs < 1:
            raise GanletError(
                f"Got {how.chains} chains, {how.temperatures} temperatures and {how.leapfrogs} leapfrog steps, "
                "expected at least 2, 1 and 1."
            )
        if pictures.ndim < 2 or len(pictures) == 0 or not bool(torch.isfinite(pictures).all()):
            raise GanletError(f"Got pictures of the shape {tuple(pictures.shape)}, expected (n, ...) of finite values.")
        flat = pictures.detach().to(torch.float64).flatten(1)
        with torch.no_grad():
            drawn = draw(torch.zeros(2, latent, dtype=torch.float64)).flatten(1)
        if drawn.shape[1] != flat.shape[1] or drawn.dtype != torch.float64 or not bool(torch.isfinite(drawn).all()):
            raise GanletError(
                f"The generator draws {drawn.shape[1]} numbers of {drawn.dtype} a picture, expected {flat.shape[1]} "
                "finite ones of float64; turn it to double() and eval(), and give pictures of its size."
            )
        return cls(draw, flat, latent, sigma)

    @property
    def count(self) -> int:
        return len(self.flat)

    def log_observation(self, z: Tensor) -> Tensor:
        """log p(x | z) (chains, n) of latents (chains, n, latent)."""
        drawn = self.draw(z.reshape(-1, self.latent)).reshape(*z.shape[:2], -1)
        square = (self.flat - drawn).square().sum(dim=2)
        return -0.5 * square / self.sigma**2 - self.flat.shape[1] * math.log(self.sigma * math.sqrt(2 * math.pi))

    def slope(self, z: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
        """(log density at beta up to a constant (chains, n), its gradient by z, log p(x | z))."""
        z = z.detach().requires_grad_(True)
        observed = self.log_observation(z)
        density = beta * observed - 0.5 * z.square().sum(dim=2)
        (gradient,) = torch.autograd.grad(density.sum(), z)
        return density.detach(), gradient, observed.detach()


def _anneal(
    model: _Model, z: Tensor, betas: Tensor, steps: Tensor, leapfrogs: int, random: torch.Generator
) -> tuple[Tensor, float]:
    """log weights (chains, n) of chains that start at `z` and pass through `betas`, and the mean acceptance rate.

    `steps` (betas, n) holds the step size of the move after each beta. Backwards the order of weighing and moving turns
    round as well: the move at a temperature comes before it is left, so that the chain is the reverse of the other.
    """
    log_w = torch.zeros(z.shape[:2], dtype=torch.float64)
    forward = bool(betas[-1] > betas[0])
    with torch.no_grad():
        observed = model.log_observation(z)
    rates = []
    for number in range(1, len(betas)):
        if not forward:
            z, observed, rate = _hmc(model, z, float(betas[number - 1]), steps[number - 1], leapfrogs, random)
            rates.append(float(rate.mean()))
        log_w += (betas[number] - betas[number - 1]) * observed
        if forward:
            z, observed, rate = _hmc(model, z, float(betas[number]), steps[number], leapfrogs, random)
            rates.append(float(rate.mean()))
    if not bool(torch.isfinite(log_w).all()):
        raise GanletError("The log-likelihood is not finite; check that the generator draws finite pictures.")
    return log_w, float(np.mean(rates))


def _hmc(
    model: _Model, z: Tensor, beta: float, step: Tensor, leapfrogs: int, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One Metropolis-adjusted move of `leapfrogs` steps of size `step` (n,): (z, log p(x | z), accepted)."""
    jitter = JITTER_LOW + (JITTER_HIGH - JITTER_LOW) * torch.rand(z.shape[:2], generator=random, dtype=torch.float64)
    size = (step * jitter)[:, :, None]
    momentum = torch.randn(z.shape, generator=random, dtype=torch.float64)
    density, gradient, observed = model.slope(z, beta)
    before = density - 0.5 * momentum.square().sum(dim=2)
    there, push = z, momentum + 0.5 * size * gradient
    for number in range(leapfrogs):
        there = there + size * push
        density, gradient, observed_there = model.slope(there, beta)
        push = push + (size if number < leapfrogs - 1 else 0.5 * size) * gradient
    after = density - 0.5 * push.square().sum(dim=2)
    drawn = torch.rand(before.shape, generator=random, dtype=torch.float64)
    accepted = torch.log(drawn) < after - before  # a path that left for infinity compares as false
    moved = torch.where(accepted[:, :, None], there, z).detach()
    return moved, torch.where(accepted, observed_there, observed), accepted.to(torch.float64)


def _tuned(model: _Model, betas: Tensor, how: Annealing) -> Tensor:
    """Step sizes (betas, n): up where more than 65 % of a picture's chains were accepted, down where fewer were."""
    random = torch.Generator().manual_seed(how.seed)
    z = torch.randn(how.chains, model.count, model.latent, generator=random, dtype=torch.float64)
    step = torch.full((model.count,), FIRST_STEP, dtype=torch.float64)
    kept = [step]
    for beta in betas[1:]:
        z, _, accepted = _hmc(model, z, float(beta), step, how.leapfrogs, random)
        rate = accepted.mean(dim=0)
        step = step * FASTER**rate * SLOWER ** (1 - rate)
        kept.append(step)
    return torch.stack(kept)
