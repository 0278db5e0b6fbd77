"""One function for each command. The command line and the flows call these and nothing below them.

``ingest_archive`` → ``train_version`` → ``evaluate_version`` → ``compare_versions`` → ``promote_version`` →
``detect_archive`` → ``write_report``. Each can be given again: what is done is not done twice, and what was stopped
goes on.
"""
