"""Output for people: descriptions of the machine, plots, text for terminals, progress bars."""
