"""Annealed importance sampling against generators whose likelihood is known."""

import math
import subprocess
import sys

import numpy as np
import pytest

from ganlet.errors import GanletError

torch = pytest.importorskip("torch")

from ganlet.metrics.likelihood import Annealing, log_likelihood, schedule, simulated_bounds  # noqa: E402

LATENT, SIZE, SIGMA = 3, 8, 0.5


def linear() -> tuple[torch.nn.Linear, torch.distributions.MultivariateNormal]:
    """x = A z + b + noise, so x ~ N(b, A A^T + sigma^2 I)."""
    torch.manual_seed(0)
    generator = torch.nn.Linear(LATENT, SIZE).double().requires_grad_(False)
    generator.weight.mul_(2)
    covariance = generator.weight @ generator.weight.T + SIGMA**2 * torch.eye(SIZE, dtype=torch.float64)
    return generator, torch.distributions.MultivariateNormal(generator.bias, covariance)


def test_the_likelihood_of_a_linear_generator_is_that_of_its_normal_distribution() -> None:
    generator, truth = linear()
    pictures = truth.sample((6,))
    pictures[5] = 4.0  # far from what the generator draws
    how = Annealing(chains=400, temperatures=200, leapfrogs=3)
    found = log_likelihood(generator, pictures.reshape(6, 2, 2, 2), LATENT, SIGMA, how)
    expected = truth.log_prob(pictures).numpy()
    assert np.abs(found.value - expected).max() < 0.12, (found.value - expected, found.standard_error)
    assert (np.abs(found.value - expected) < 4 * found.standard_error).all(), (
        found.value - expected,
        found.standard_error,
    )
    assert 0.5 < found.acceptance < 0.9


def test_its_standard_error_is_the_spread_over_seeds() -> None:
    generator, truth = linear()
    pictures = truth.sample((2,))
    how = [Annealing(chains=16, temperatures=40, leapfrogs=3, seed=seed) for seed in range(16)]
    found = [log_likelihood(generator, pictures, LATENT, SIGMA, one) for one in how]
    spread = np.std([one.value for one in found], axis=0)
    told = np.mean([one.standard_error for one in found], axis=0)
    assert (np.abs(np.log(told / spread)) < math.log(1.8)).all(), (told, spread)


def test_bounds_of_a_linear_generator_enclose_the_truth() -> None:
    generator, truth = linear()
    rough, fine = (
        simulated_bounds(generator, 12, LATENT, SIGMA, Annealing(chains=48, temperatures=t, leapfrogs=3))
        for t in (4, 150)
    )
    expected = truth.log_prob(torch.from_numpy(rough.pictures)).numpy().mean()
    assert rough.lower.mean() < expected - 0.1 and rough.upper.mean() > expected + 0.1, (rough, expected)
    assert fine.lower.mean() == pytest.approx(expected, abs=0.15), (fine, expected)
    assert fine.upper.mean() == pytest.approx(expected, abs=0.15), (fine, expected)
    assert abs(fine.gap) < 0.2 < rough.gap and rough.lower.shape == rough.upper.shape == (12,)


def test_a_curved_generator_in_one_dimension_against_quadrature() -> None:
    def draw(z: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.tanh(2 * z), z.square() - 1], dim=1)  # two modes: z and -z are half alike

    pictures = torch.tensor([[0.1, 0.5], [-0.9, 0.2], [0.5, -0.5]], dtype=torch.float64)
    z = torch.linspace(-9, 9, 40_001, dtype=torch.float64)[:, None]
    observed = -0.5 * (pictures[:, None] - draw(z)).square().sum(-1) / 0.3**2 - 2 * math.log(
        0.3 * math.sqrt(2 * math.pi)
    )
    prior = -0.5 * z[:, 0].square() - 0.5 * math.log(2 * math.pi)
    expected = (torch.logsumexp(observed + prior, dim=1) + math.log(18 / 40_000)).numpy()
    found = log_likelihood(draw, pictures, 1, 0.3, Annealing(chains=512, temperatures=200, leapfrogs=4))
    assert np.abs(found.value - expected).max() < 0.1, (found, expected)


def test_a_convolutional_generator_of_this_package_can_be_judged() -> None:
    from ganlet.models.dcgan import GeneratorConfig
    from ganlet.models.families import build_generator

    config = GeneratorConfig(latent=4, widths=(6, 4), strides=(2, 2), kernels=(4, 4), channels=1, norm="batch")
    generator = build_generator(config).double().eval()
    bounds = simulated_bounds(generator, 2, 4, 0.2, Annealing(chains=4, temperatures=20, leapfrogs=3))
    assert np.isfinite(bounds.lower).all() and -0.5 < bounds.gap < 20
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_equal_seeds_give_equal_numbers() -> None:
    generator, truth = linear()
    pictures = truth.sample((2,))
    how = Annealing(chains=4, temperatures=5, leapfrogs=2)
    first, again = (log_likelihood(generator, pictures, LATENT, SIGMA, how) for _ in range(2))
    other = log_likelihood(generator, pictures, LATENT, SIGMA, Annealing(4, 5, 2, seed=1))
    np.testing.assert_array_equal(first.value, again.value)
    assert (first.value != other.value).all()
    betas = schedule(7)
    assert betas[0] == 0 and betas[-1] == 1 and (betas.diff() > 0).all()


def test_what_has_no_likelihood_is_refused() -> None:
    generator, truth = linear()
    pictures = truth.sample((2,))
    with pytest.raises(GanletError, match="sigma = 0"):
        log_likelihood(generator, pictures, LATENT, 0.0)
    with pytest.raises(GanletError, match="1 chains"):
        log_likelihood(generator, pictures, LATENT, 1.0, Annealing(chains=1))
    with pytest.raises(GanletError, match=r"8 numbers of torch\.float64 a picture, expected 5"):
        log_likelihood(generator, pictures[:, :5], LATENT, 1.0)
    with pytest.raises(GanletError, match="finite values"):
        log_likelihood(generator, pictures * float("nan"), LATENT, 1.0)
    with pytest.raises(GanletError, match=r"8 numbers of torch\.float32"):
        log_likelihood(lambda z: generator(z).float(), pictures, LATENT, 1.0)


def test_the_room_itself_loads_no_torch() -> None:
    code = "import sys, ganlet.metrics, ganlet.latent; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
