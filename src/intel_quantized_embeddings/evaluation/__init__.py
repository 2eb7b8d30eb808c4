"""Measuring what vectors are good for: datasets, metrics, and fp32 beside int8."""
