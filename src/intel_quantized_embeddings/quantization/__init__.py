"""Make int8 models: calibration texts in, a folder that the runtimes open out."""
