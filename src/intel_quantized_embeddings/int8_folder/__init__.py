"""The format of a quantized folder, apart from making one."""
