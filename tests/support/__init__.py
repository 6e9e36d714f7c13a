"""What tests share: makers of inputs, strangers' servers, oracles, fixtures."""
