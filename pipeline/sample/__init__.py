"""Generated sample data: an archive that looks like a hospital's, with everything known about it."""
