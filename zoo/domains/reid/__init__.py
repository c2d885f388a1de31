"""Text-to-image person retrieval that survives noisy pairs."""
