"""The models of an audit: their specs, their training, changes to them, attacks that steal them."""
