"""`iqe benchmark`: speed beside accuracy, for any model, on the machine it runs on."""
