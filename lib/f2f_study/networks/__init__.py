"""Pruned networks: what one is, how it is pruned and quantized, and the stand-ins."""
