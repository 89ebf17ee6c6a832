"""Quasistatic flesh: the visible skin as the equilibrium of an elastic layer, with an implicit derivative."""
