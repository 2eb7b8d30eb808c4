"""`iqe evaluate`: int8 beside fp32 on datasets."""
