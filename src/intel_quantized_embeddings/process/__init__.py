"""The process that this runs in, and its CPU: cores, forks, threads, output."""
