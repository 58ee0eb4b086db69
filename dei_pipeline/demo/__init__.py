"""Synthetic sources of any size: `generate.generate` writes them, `model` makes their numbers, `pages` prints them."""
