"""What every room stands on: argument checks, the exception, whole-file writes, LLVM helpers."""
