"""The version, for the package's own modules, which must not import from the package's root."""

__version__ = "0.1.0"
