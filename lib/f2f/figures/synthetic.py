"""Figures of the synthetic study (notebooks 01 and 02)."""

from __future__ import annotations

__all__: list[str] = []
