"""Makes the helpers beside it importable for the tests of every room."""
