"""What the notebooks measure, one module a notebook."""
