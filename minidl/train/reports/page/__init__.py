"""A run as one HTML file: `gather` what there is to tell, draw it, and fill the template."""

from minidl.train.reports.page.write import write_report

__all__ = ["write_report"]
