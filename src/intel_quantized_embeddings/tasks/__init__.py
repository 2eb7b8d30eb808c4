"""What vectors are measured on."""
