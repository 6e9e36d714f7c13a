"""Images: read from folders, tables, archives and known data sets, and kept in memory or on disk."""
