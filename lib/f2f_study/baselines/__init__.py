"""What one would use instead of fixed-to-fixed code."""
