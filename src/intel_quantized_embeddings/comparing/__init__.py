"""`iqe compare`: two encoders side by side, in accuracy and speed."""
