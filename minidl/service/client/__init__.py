"""The other side of the service's HTTP API: what `minidl submit`, `jobs`, `logs` and others use.

``settings`` finds the address and the token, ``connection`` asks and asks again, ``refusals`` puts
what went wrong into words, ``config_text`` makes the one text that is submitted, ``following``
reads streams through restarts of the service, and ``tables`` shows what came back. Nothing here
needs the server's packages: the extra ``client`` is enough.
"""
