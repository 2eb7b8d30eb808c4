"""The version, for the package's own modules: importing it from the root would make them depend on the door."""

__version__ = "0.1.0"
