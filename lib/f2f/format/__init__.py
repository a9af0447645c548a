"""A tensor and a file: compress and decompress, orders, basis, corrections, mask, container."""
