"""One index store a file."""
