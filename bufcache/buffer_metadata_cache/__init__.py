"""Everything about many buffer files."""
