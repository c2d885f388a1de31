"""Ground floor: torchmetrics.Metric subclasses that torchmetrics itself lacks."""
