"""Texts -> batches -> rows, whatever the runtime."""
