"""A victim, its twins, thieves and innocents, fine-tuned from one public checkpoint:
EfficientNet-Lite0 with ImageNet's weights."""
