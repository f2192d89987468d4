"""Cells as counts: the set autoencoder, the latent flow, library sizes, counts at unseen times."""
