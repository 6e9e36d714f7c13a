"""The models of an audit: their specs, their training, modifications of them, and attacks that steal them."""
