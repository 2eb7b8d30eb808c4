"""The engines that turn token ids into vectors, behind one Protocol (`base.Runtime`)."""
