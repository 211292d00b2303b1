"""Networks, losses and the bundles that carry them."""
