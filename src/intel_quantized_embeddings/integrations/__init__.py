"""Thin adapters to other libraries. Each imports its library, and none imports another adapter."""
