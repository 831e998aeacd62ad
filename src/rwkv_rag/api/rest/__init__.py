"""Plain REST below `/api`: what the commands and the pages do, for programs."""
