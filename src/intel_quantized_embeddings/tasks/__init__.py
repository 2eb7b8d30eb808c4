"""Tasks that vectors are measured on: datasets, rankings and scores."""
