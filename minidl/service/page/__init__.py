"""The web page at ``/``: HTML, one style sheet and JavaScript modules, without a build step.

A browser does all of it through the service's HTTP interface; nothing here knows of jobs. The
modules lie in ``static`` and are read by their heads: ``main.js`` is the frame, ``…_page.js`` what
an address shows, ``…_view.js`` the parts of a job's page.
"""

from __future__ import annotations

from minidl.service.page.routes import add_page

__all__ = ["add_page"]
