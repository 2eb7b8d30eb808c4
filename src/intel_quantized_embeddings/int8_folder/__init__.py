"""The format of a quantized folder; `quantization/` makes such folders."""
