"""Archive files and media directories: what lies in them, taken out safely."""
