"""Figures of the study of encoders, windows, orders and rates (notebook 03)."""

from __future__ import annotations

__all__: list[str] = []
