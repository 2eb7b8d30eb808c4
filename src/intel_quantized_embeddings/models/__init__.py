"""Model folders as others publish them."""
