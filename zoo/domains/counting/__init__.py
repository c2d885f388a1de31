"""Semi-supervised tree counting by density maps: TreeFormer and its data."""
