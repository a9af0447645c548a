"""Figures of whole models (notebooks 04 and 05)."""

from __future__ import annotations

__all__: list[str] = []
