"""Files and folders, whatever is in them."""
