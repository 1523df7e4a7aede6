"""Ganlet: train a GAN, make its generator small, and prove that it is still good."""

__version__ = "0.1.0"
