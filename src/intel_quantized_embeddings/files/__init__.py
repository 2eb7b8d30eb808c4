"""Files and folders of any content."""
