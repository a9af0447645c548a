"""Running the notebooks and what becomes of a run: launch, grid, compare, overview, pages."""
