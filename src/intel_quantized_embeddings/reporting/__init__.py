"""What people read: the machine, plots, terminals, progress."""
