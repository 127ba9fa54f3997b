"""What a caller may do, and who may."""
