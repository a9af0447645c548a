"""What every room stands on: argument checks, the package's exception, whole-file writes, LLVM helpers."""
