"""Fixed-to-fixed encoding of irregularly sparse weights."""
