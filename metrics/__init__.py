"""How good samples and densities are, as pure functions: samples, features or densities in, numbers out."""
