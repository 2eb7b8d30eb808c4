"""`iqe benchmark` with other people's libraries beside it: `python -m bench`, with the options of `iqe benchmark`."""
