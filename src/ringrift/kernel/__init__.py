"""What keeps a project of jobs and services going: it knows no game, no network and no store.

`service` says what a service is, `kind` what a kind of job is, `project` puts a project's tables together, and
`supervisor` runs them. Other projects could use it as it is; `ringrift.pipeline.table` says what this one runs.
"""
