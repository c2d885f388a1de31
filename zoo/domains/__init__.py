"""Second floor: one folder = one domain."""
