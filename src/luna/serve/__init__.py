"""The local page: uploads, a queue on disk, one worker that looks at scans, and their reports."""
