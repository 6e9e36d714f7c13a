"""Options of the subcommands. Nothing here imports what takes a while, so that help and a
mistyped option are answered at once."""
