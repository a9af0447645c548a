"""Figures of products straight from the encoded form (notebook 06)."""

from __future__ import annotations

__all__: list[str] = []
