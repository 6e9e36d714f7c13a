"""Options of the subcommands. Nothing here imports slow modules, so that help and the complaint about a
mistyped option appear quickly."""
