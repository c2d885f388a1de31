"""One self-contained HTML page over one or several evaluated runs."""

from zoo.report.page import write_page
from zoo.report.predictions import Predictions, read_predictions
from zoo.report.runs import Run, read_run

__all__ = ["Predictions", "Run", "read_predictions", "read_run", "write_page"]
