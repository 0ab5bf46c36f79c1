"""The service's HTTP side.

`app` puts it together. Routes stand by what they are about: `submissions`, `jobs`, `files` (log,
artifacts), `streams` (server-sent events), `predictions`, `accounts` (tokens, sessions). What all
of them go through: `security` says who asks and whether they may, `limits` how much may be asked,
`problems` how an error is told. `documents` are the bodies of requests and answers, `watching`
follows the store and files for all streams together, `containment` opens files of a job and
no others.
"""
