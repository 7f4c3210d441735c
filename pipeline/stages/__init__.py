"""One file a stage: each reads files, calls the rooms above, writes files and returns its figures."""
