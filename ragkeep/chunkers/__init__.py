"""One chunker a kind of document."""
