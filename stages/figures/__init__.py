"""Pictures, drawn the same byte for byte from the same numbers."""
